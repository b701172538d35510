"""Checks of the exported schemas by tools that run in Node: AsyncAPI's parser, generators of TypeScript."""
