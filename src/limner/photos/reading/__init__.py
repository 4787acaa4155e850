"""Files, folders and zips read into upright sRGB pictures."""
