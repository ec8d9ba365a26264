"""Names under which crawlers that gather text to train models ask robots.txt for permission.

A site that shuts one of them out does not want to be trained on. Only agents for training are
listed, not those that fetch a page because a user asks for it, or that index for search.
"""

TRAINING_AGENTS = {
    # OpenAI, https://platform.openai.com/docs/bots
    "GPTBot": "OpenAI",
    # https://commoncrawl.org/ccbot
    "CCBot": "Common Crawl",
    # https://developers.google.com/search/docs/crawling-indexing/google-common-crawlers
    "Google-Extended": "Google",
    # https://support.anthropic.com/en/articles/8896518
    "ClaudeBot": "Anthropic",
    "anthropic-ai": "Anthropic",
    # https://support.apple.com/en-us/119829
    "Applebot-Extended": "Apple",
    # https://developers.facebook.com/docs/sharing/webmasters/web-crawlers
    "Meta-ExternalAgent": "Meta",
    "FacebookBot": "Meta",
    # https://allenai.org/crawler
    "AI2Bot": "Ai2",
    "Ai2Bot-Dolma": "Ai2",
    # https://developer.amazon.com/amazonbot
    "Amazonbot": "Amazon",
    # Those below are from the list that https://github.com/ai-robots-txt/ai.robots.txt keeps.
    "Bytespider": "ByteDance",
    "cohere-ai": "Cohere",
    "cohere-training-data-crawler": "Cohere",
    "Cotoyogi": "ROIS",
    "DeepSeekBot": "DeepSeek",
    "Diffbot": "Diffbot",
    "FriendlyCrawler": "unknown",
    "ICC-Crawler": "NICT",
    "Kangaroo Bot": "Kangaroo LLM",
    "LAIONDownloader": "LAION",
    "laion-huggingface-processor": "LAION",
    "omgili": "Webz.io",
    "omgilibot": "Webz.io",
    "PanguBot": "Huawei",
    "Timpibot": "Timpi",
    "Webzio-Extended": "Webz.io",
}
"""Name and operator."""
