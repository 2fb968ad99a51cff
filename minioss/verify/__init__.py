"""Is a port right, and if not, what is the mistake?"""
