"""What docket costs beside the engines that are installed: figures to read, never a test."""
