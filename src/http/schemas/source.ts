import { z } from 'zod';
import { TRANSITION_KINDS } from '../../core/feed/stream-hint.ts';
import { count, milliseconds, name, time } from './common.ts';

/** How a source stands; what is asked of it while it does not answer is one request at a time. */
const SOURCE_STATES = [
  'unknown',
  'answering',
  'inconsistent',
  'paused',
  'unauthorized',
  'unreachable',
] as const;

export const sourceSchema = z
  .object({
    name: z.string(),
    label: z.string().meta({
      description: 'What texts call it: its product where runwatch knows that, else its name.',
    }),
    type: z.enum(['noxus', 'http']).meta({
      description: 'noxus: a workspace of Noxus. http: an API that the configuration declares.',
    }),
    host: z.string().meta({ examples: ['api.github.com'] }),
    id_parts: z.array(z.string()).meta({
      description:
        'The parts that ids of its runs are made of, joined by slashes; empty where they have none.',
      examples: [['owner', 'repo', 'run']],
    }),
    can: z
      .object({
        list: z.boolean().meta({ description: 'Its runs are read from a list, too.' }),
        stream: z.boolean().meta({ description: 'Its runs have streams of their events.' }),
        wait: z.boolean().meta({ description: 'It shows a run that waits for a person.' }),
        probe: z.boolean().meta({
          description:
            'A request without a run shows whether it answers. Else a run that is not found is gone only once the source has answered for another run.',
        }),
      })
      .meta({ description: 'What the source can do, by its type and declaration.' }),
    state: z.enum(SOURCE_STATES).meta({
      description:
        'unknown: it has not given a valid answer yet. inconsistent: it answers, and polls of its runs contradict one another. paused: it asked for a pause. unauthorized: it refuses the key. unreachable: it gives no valid answer to anything.',
    }),
    since: time.nullable().meta({ description: 'Since when; null while it answers as it should.' }),
    message: z
      .string()
      .nullable()
      .meta({ description: 'Why it does not answer, or is inconsistent, where known.' }),
    paused_until: time.nullable().meta({
      description: 'When one request is tried next; null while it answers.',
    }),
    last_answer_at: time.nullable().meta({
      description: 'When it last gave a valid answer, to a second or so; null where not known.',
    }),
    can_stop: z.boolean().meta({ description: 'Whether its runs can be stopped by `…/stop`.' }),
    rate_limit: z.object({
      requests: count,
      per: z.string().meta({ examples: ['1s'] }),
      used: count.meta({ description: 'Requests that count against it now.' }),
    }),
    overdue: z
      .object({
        polls: count,
        oldest_ms: milliseconds,
        rate_limit_that_would_do: z.object({ requests: count, per: z.string() }),
        message: z.string(),
      })
      .nullable()
      .meta({
        description:
          'Polls that are late; null where all keep up. The message says for want of what.',
      }),
    reads: z
      .object({
        runs: count.meta({ description: 'Active runs; those left to event streams do not count.' }),
        usual_ms: milliseconds.nullable().meta({
          description: 'The median time from one read of a run to the next; null where not known.',
        }),
        longest_ms: milliseconds,
        beyond_max_interval: count.meta({
          description:
            'Runs that are read less often than `max_interval` asks for, since the rate limit is too short.',
        }),
        rate_limit_that_would_do: z.object({ requests: count, per: z.string() }),
        message: z.string(),
      })
      .nullable()
      .meta({
        description: 'How often runs are read, alone or in a list; null where that is not known.',
      }),
    discovery: z
      .array(
        z.object({
          workflow_id: z.string().nullable().meta({
            description: 'The workflow whose list is read; null for the list of all.',
          }),
          began_at: time.nullable().meta({
            description: 'When its first pass ended; null where it has not, or that is not known.',
          }),
          taken: count.meta({ description: 'Runs that the first pass took.' }),
          waiting: count.meta({ description: 'Of these, how many waited for a human.' }),
          left_out: count.meta({
            description: 'Runs that the first pass left out, since they had ended.',
          }),
          read_back_to: time.nullable().meta({
            description:
              'The creation of the oldest run that the first pass read, where the list goes on below; else null.',
          }),
          message: z.string(),
        }),
      )
      .nullable()
      .meta({
        description: 'The lists that runs are discovered in; null where none are discovered.',
      }),
    streams: z
      .object({
        open: count,
        wanted: count,
        allowed: count.meta({ description: 'How many may be open now, over all daemons.' }),
        refused_until: time.nullable().meta({
          description:
            'Until when none is opened, since the source refuses them; null where it does not.',
        }),
        doubted: z.array(z.enum(TRANSITION_KINDS)).nullable().meta({
          description:
            'Transitions that streams are not trusted to report, so that runs which show them keep their cadence; null before any was seen.',
        }),
        known_first: z.array(z.object({ kind: z.string(), by: z.string(), count })).meta({
          description:
            'How often a transition became known first by a hint of a stream or list, or by a read.',
        }),
      })
      .meta({ description: 'Event streams of runs.' }),
  })
  .meta({ id: 'Source', description: 'One place that runs come from.' });

export const sourceList = z.object({ data: z.array(sourceSchema) });

export const sourceParams = z.strictObject({ name });
