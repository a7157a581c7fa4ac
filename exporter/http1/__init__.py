"""HTTP/1.1 to one origin after the other, as a transport of httpx: h11 speaks, asyncio carries."""
