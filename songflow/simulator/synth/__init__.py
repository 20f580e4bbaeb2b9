"""Synthesise music with numpy: words to style, style to notes, notes to samples, samples to mp3."""
