"""The Mews Connector API over aiohttp: exports, polls, downloads. Its errors become ours here, once."""
