"""The nouns: frozen dataclasses, standard library only. Everybody may import this package; it imports nobody."""
