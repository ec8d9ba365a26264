"""The hub's own pages: server-rendered, readable without JavaScript, in English and Chinese.

routes            the pages' routes, and the page that tells an error
pages_*           one file for each group of pages: what is shown, what its forms do
listing, history  what the pages ask the database
rendering         templates, headers, the language of an answer
i18n, words       texts in two languages; numbers, sizes and times as people write them
markdown          cards and comments as harmless HTML
charts            curves of a run as SVG
"""
