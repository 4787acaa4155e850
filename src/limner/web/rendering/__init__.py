"""What pages are made with: templates, static files, Markdown, remedies."""
