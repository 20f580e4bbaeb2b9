"""Music out of numpy: style from words, notes from style, samples from notes, mp3 from samples."""
