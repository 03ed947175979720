import { z } from 'zod';
import { DELIVERY_STATES, ENDPOINT_TYPES } from '../../core/delivery/delivery.ts';
import { countsBy, duration, time } from './common.ts';
import { attemptSchema } from './delivery.ts';

export const endpointHealth = z
  .object({
    state: z.enum(['active', 'failing', 'paused', 'disabled']).meta({
      id: 'EndpointState',
      description:
        '`failing`: most recent attempts failed; deliveries are parked and one at a time probes. `paused`: deliveries are parked until it is resumed. `disabled`: deliveries are skipped until it is resumed.',
    }),
    reason: z.string().nullable().meta({
      description: 'Why it is disabled: `gone` (it answered 410) or `failing` (for five days).',
    }),
    failing_since: time.nullable().meta({
      description: 'The first failure since anything was delivered.',
    }),
    next_probe_at: time.nullable().meta({ description: 'When it is probed next, while failing.' }),
    throttled_until: time.nullable().meta({
      description: 'It asked for no requests before this (`Retry-After`), an hour at most.',
    }),
  })
  .meta({ id: 'EndpointHealth', description: 'How an endpoint does.' });

export const deliveryCounts = countsBy(DELIVERY_STATES).meta({
  id: 'DeliveryCounts',
  description: 'Deliveries by state.',
});

export const endpointSchema = z
  .object({
    name: z.string(),
    type: z.enum([...ENDPOINT_TYPES, 'unconfigured']).meta({
      id: 'EndpointType',
      description: '`unconfigured`: it was renamed or removed while deliveries still wait for it.',
    }),
    url: z.string().nullable(),
    events: z.array(z.string()).meta({ description: 'The event types and families that it gets.' }),
    default: z.boolean(),
    counts: deliveryCounts,
    oldest_pending_at: time.nullable().meta({
      description:
        'When the oldest delivery was created that is pending or parked; null where none is.',
    }),
    health: endpointHealth,
  })
  .meta({
    id: 'Endpoint',
    description:
      'A configured receiver, or a webhook of a watch that is not well; without secrets.',
  });

export const endpointList = z
  .object({ data: z.array(endpointSchema) })
  .meta({ id: 'EndpointList' });

export const endpointParams = z.strictObject({
  name: z
    .string()
    .max(300)
    .regex(
      /^([a-z0-9][a-z0-9_-]{0,62}|https?:\/\/[^/\s]+\/…#[0-9a-f]{6})$/i,
      'expected a name of up to 63 letters, digits, _ and -, or a masked URL as it is listed',
    )
    .meta({ description: 'Its name, or the masked URL of a webhook of a watch.' }),
});

export const endpointTest = z
  .object({
    delivered: z.boolean().meta({ description: 'Whether the receiver took it.' }),
    attempt: attemptSchema,
  })
  .meta({ id: 'EndpointTest' });

/** Without a body, the old secret signs for another day. */
export const rotateRequest = z
  .strictObject({
    overlap: duration('0s', '7d', '24h')
      .meta({ description: 'How long the old secret signs too, from 0s to 7d; else 24h.' })
      .exactOptional(),
    now: z
      .boolean()
      .meta({
        description:
          'Ends all old secrets at once, whatever `overlap` says or was promised for them.',
      })
      .exactOptional(),
  })
  .prefault({});

export const rotatedSecret = z
  .object({
    secret: z.string().meta({ description: 'Shown this once and never again.' }),
    previous_expires_at: time.nullable().meta({
      description: 'When the last of the old secrets ends; null when none signs any more.',
    }),
  })
  .meta({ id: 'RotatedSecret' });

export const endpointSecret = z.object({ secret: z.string() }).meta({ id: 'EndpointSecret' });
