import { z } from 'zod';
import { DELIVERY_STATES } from '../../core/delivery.ts';
import { count } from './common.ts';

const endpointSchema = z
  .object({
    name: z.string(),
    type: z.enum(['webhook', 'log']),
    url: z.string().nullable(),
    events: z.array(z.string()).meta({ description: 'The event types and families it is told.' }),
    default: z.boolean(),
    counts: z.record(z.enum(DELIVERY_STATES), count).meta({ description: 'Deliveries by state.' }),
  })
  .meta({ id: 'Endpoint', description: 'A configured receiver, without its secrets.' });

export const endpointList = z.object({ data: z.array(endpointSchema) });
