"""The image: layers, and the settings that a container made from it starts with."""
