"""Files of containers: what changed, archives out of them and into them."""
