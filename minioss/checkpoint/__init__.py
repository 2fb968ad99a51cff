"""Model folders: reading them in both official layouts, checking them, making synthetic ones."""
