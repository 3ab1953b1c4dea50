"""Decoding of media files. Other rooms import its public names from `extractors.media`."""
