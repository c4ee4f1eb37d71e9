"""A real MCP server with one tool, which says in which instance it runs; the transport is told on the command line."""

import os
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("where")


@server.tool()
def where() -> str:
    """The id of the instance."""
    return os.environ["FC_INSTANCE_ID"]


if __name__ == "__main__":
    port = int(os.environ["FC_SERVER_PORT"])
    if sys.argv[1] == "sse":
        server.run("sse", host="0.0.0.0", port=port)
    else:
        server.run("streamable-http", host="0.0.0.0", port=port)
