import { isRetriable } from '../../core/errors.ts';
import type { Process } from '../../process.ts';
import { eventsOf, type Channel, type Message } from './channel.ts';
import type { SentEvent } from './notice/sent-event.ts';

/**
 * A channel with messages for people, which name workflows and nodes as they are known when they are sent:
 * the first events of a workflow are older than its name.
 */
export function namingChannel(channel: Channel, process: Pick<Process, 'knownNames'>): Channel {
  return {
    ...channel,
    async send(message, signal, mayStart) {
      return channel.send(await namedMessage(message, process), signal, mayStart);
    },
  };
}

async function namedMessage(
  message: Message,
  { knownNames }: Pick<Process, 'knownNames'>,
): Promise<Message> {
  const events = eventsOf(message);
  // A message is not held up where the store gives no names.
  const named = await knownNames.named(events).catch((error: unknown) => {
    if (isRetriable(error)) return events;
    throw error;
  });
  const [body = message.body, ...bodies] = named.map((event: SentEvent) => JSON.stringify(event));
  const others = message.others?.map((other, at) => ({ ...other, body: bodies[at] ?? other.body }));
  return { ...message, body, ...(others !== undefined && { others }) };
}
