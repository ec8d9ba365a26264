"""Fetch the text of a member's own sites, politely, with Scrapy in a process of its own."""
