import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import type { CommandLine } from '../src/cli/command-line.ts';
import { addAll } from '../src/cli/mcp/server.ts';
import { Tools } from '../src/cli/mcp/tools.ts';
import type { DaemonClient } from '../src/client/client.ts';

/** What a token has to allow, from what needs the least. */
export const MCP_SCOPES = ['read', 'write', 'admin'] as const;

export type McpTool = Tool & { scope: (typeof MCP_SCOPES)[number] };

/** The tools that `runwatch mcp` offers AI clients, with the scope that each needs. */
export async function mcpTools(): Promise<McpTool[]> {
  const found = new Map<string, McpTool>();
  for (const scope of MCP_SCOPES) {
    for (const tool of await toolsFor({ write: scope !== 'read', admin: scope === 'admin' })) {
      if (!found.has(tool.name)) found.set(tool.name, { ...tool, scope });
    }
  }
  return [...found.values()];
}

async function toolsFor(can: Parameters<typeof addAll>[1]): Promise<Tool[]> {
  const server = new McpServer({ name: 'runwatch', version: '0.0.0' });
  // Lists of tools ask the daemon nothing.
  addAll(new Tools(server, {} as DaemonClient, {} as CommandLine), can);
  const [near, far] = InMemoryTransport.createLinkedPair();
  await server.connect(far);
  const client = new Client({ name: 'runwatch', version: '0.0.0' });
  await client.connect(near);
  const { tools } = await client.listTools();
  await client.close();
  return tools;
}
