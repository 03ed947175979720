import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type {
  CallToolResult,
  ServerNotification,
  ServerRequest,
  ToolAnnotations,
} from '@modelcontextprotocol/sdk/types.js';
import type { z } from 'zod';
import type { DaemonClient } from '../../client/client.ts';
import type { CommandLine } from '../command-line.ts';
import { answerInWords, argumentsOf, errorText } from './answers.ts';

/** What a tool is called with besides its arguments. */
export type Call = RequestHandlerExtra<ServerRequest, ServerNotification>;

/** How a tool is described to clients. */
interface Described<Shape extends z.ZodRawShape> {
  description: string;
  arguments: Shape;
  annotations: ToolAnnotations;
}

/** The tools and resources of a server, which reach the daemon by a client. */
export class Tools {
  constructor(
    readonly server: McpServer,
    readonly client: DaemonClient,
    readonly cli: CommandLine,
  ) {}

  /** Adds a tool. What goes wrong in it is an answer that the model can act on, not a fault of the protocol. */
  add<Shape extends z.ZodRawShape>(
    name: string,
    { description, arguments: shape, annotations }: Described<Shape>,
    act: (given: z.infer<z.ZodObject<Shape>>, call: Call) => Promise<CallToolResult>,
  ): void {
    this.server.registerTool<z.ZodRawShape, z.ZodObject<Shape>>(
      name,
      { description, inputSchema: argumentsOf(shape), annotations },
      async (given: z.infer<z.ZodObject<Shape>>, call: Call) => {
        try {
          return await act(given, call);
        } catch (error) {
          return { isError: true, ...answerInWords(errorText(error)) };
        }
      },
    );
  }
}
