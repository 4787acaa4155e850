"""The gallery: pictures found, rated, tagged, downloaded, deleted."""
