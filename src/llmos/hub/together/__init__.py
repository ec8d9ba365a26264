"""Discussions, pull requests, access requests, collections, webhooks and notifications."""
