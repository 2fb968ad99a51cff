"""What is wrong with a port: the mistake of the catalogue that explains how it departs."""
