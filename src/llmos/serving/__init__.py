"""The server: models over HTTP, in the form of OpenAI's API."""
