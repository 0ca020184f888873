"""The engine itself: who it is, and the settings that can change while it runs."""
