import { z } from 'zod';
import { AUDIT_WAYS, AUDITED_ACTIONS } from '../../core/audit.ts';
import { cursor, limit, name, pageOf, time, whenRange } from './common.ts';

export const auditQuery = z.strictObject({
  ...whenRange('Done'),
  by: name.meta({ description: 'The name of the token.' }).exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});

export const auditRecordSchema = z
  .object({
    id: z.string(),
    at: time,
    by: z.string().nullable().meta({
      description: 'The name of the token; null where none was needed.',
    }),
    via: z.enum(AUDIT_WAYS).meta({
      description:
        'How it was asked for: by the dashboard, the command line, an AI client or another program. Programs say so themselves.',
    }),
    action: z.enum(AUDITED_ACTIONS),
    target: z.string().meta({
      description:
        'An id or a name; of a run `<source>/<run id>`, of a webhook its masked URL, `*` for no one in particular.',
    }),
    details: z.record(z.string(), z.string()).meta({
      description:
        'What else was given, texts beyond 500 characters cut. `person` is the `by` of the request, which the user types.',
    }),
  })
  .meta({ id: 'AuditRecord', description: 'Something that a user did.' });

export const auditPage = pageOf(auditRecordSchema, 'AuditPage');
