"""Counting connections without remembering who made them. No asyncio: any transport can embed it."""
