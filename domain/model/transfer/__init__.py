"""The transfer: one pull or push of an image, between its intent and its outcome."""
