import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { MAIN } from './built-main.ts';
import { cleanEnv } from './daemon-process.ts';

/** Starts `runwatch mcp` as AI clients do, and connects to it by the SDK's own client. */
export async function connectMcp(url: string, token?: string): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' });
  const env = cleanEnv(token === undefined ? {} : { RUNWATCH_API_TOKEN: token });
  const command = { command: process.execPath, args: [MAIN, 'mcp', '--url', url] };
  await client.connect(new StdioClientTransport({ ...command, env }));
  return client;
}

/** What a model reads of an answer: its text alone. */
interface Said {
  text: string;
  isError: boolean;
}

/** An AI client that sees texts alone, as many models do, and takes what it acts on from them. */
export class McpAgent {
  private constructor(private readonly client: Client) {}

  static async start(url: string, token: string): Promise<McpAgent> {
    return new McpAgent(await connectMcp(url, token));
  }

  /** What a tool says, which may be an error. */
  async ask(tool: string, given: Record<string, unknown> = {}): Promise<Said> {
    const { content, isError } = await this.client.callTool({ name: tool, arguments: given });
    const parts = content as { type: string; text: string }[];
    return { text: parts.map(({ text }) => text).join('\n'), isError: isError === true };
  }

  /** What a tool says that does its work. @throws Error where it does not */
  async call(tool: string, given: Record<string, unknown> = {}): Promise<string> {
    const { text, isError } = await this.ask(tool, given);
    if (isError) throw new Error(`${tool} ${JSON.stringify(given)} failed: ${text}`);
    return text;
  }

  /** First asks what a call would do, then does it. @returns what the tool says of both */
  async confirm(
    tool: string,
    given: Record<string, unknown>,
  ): Promise<{ before: string; done: string }> {
    const before = await this.call(tool, given);
    return { before, done: await this.call(tool, { ...given, confirm: true }) };
  }

  /** The addresses, titles and descriptions of all resources. */
  async resources(): Promise<string[]> {
    const { resources } = await this.client.listResources();
    return resources.map(({ uri, title, description }) => `${uri} ${title}: ${description}`);
  }

  async templates(): Promise<string[]> {
    const { resourceTemplates } = await this.client.listResourceTemplates();
    return resourceTemplates.map(({ uriTemplate }) => uriTemplate);
  }

  /** The text of a resource. Throws where it cannot be read. */
  async read(uri: string): Promise<string> {
    const { contents } = await this.client.readResource({ uri });
    return contents.map((one) => ('text' in one ? one.text : '')).join('\n');
  }

  /** What a client is offered for a variable of the template of resources. */
  async complete(
    name: string,
    value: string,
    others: Record<string, string> = {},
  ): Promise<string[]> {
    const [uri = ''] = await this.templates();
    const { completion } = await this.client.complete({
      ref: { type: 'ref/resource', uri },
      argument: { name, value },
      context: { arguments: others },
    });
    return completion.values;
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

/** What a text says in a place. @throws Error with the text where it does not */
export function said(text: string, pattern: RegExp): string {
  const [, found] = pattern.exec(text) ?? [];
  if (found === undefined) throw new Error(`${pattern} is not in: ${text}`);
  return found;
}
