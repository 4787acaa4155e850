"""The public shapes of the API, for the server and the client alike: pydantic alone, no server in it."""
