import type { FastifyRequest } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { RunwatchError } from '../core/errors.ts';
import { sourcesOf } from './auth.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** A cursor as this caller may have it. */
    givenCursor(cursor: string): string;
  }
}

/** Encrypts with keys that all daemons of a store have. */
export interface CursorSealer {
  seal(plain: object, context: string): string;
  /** Throws where the text is not one that was sealed in this context. */
  open(sealed: string, context: string): unknown;
}

/**
 * Encrypts the cursors of tokens that are limited to some sources: in clear they count the records of all
 * sources, and one that was made up would be refused or not by how many there are.
 */
export const limitedCursors = fastifyPlugin<{ sealer: CursorSealer }>((app, { sealer }, done) => {
  app.decorateRequest('givenCursor', function givenCursor(cursor: string) {
    const context = contextOf(this);
    return context === null ? cursor : sealer.seal({ cursor }, context);
  });

  // Before the schema is applied, so that routes get the cursor in clear.
  app.addHook('preValidation', async (request) => {
    const context = contextOf(request);
    if (context === null) return;
    const places = [
      { of: request.query as Record<string, unknown>, names: ['cursor', 'after'] },
      { of: request.headers as Record<string, unknown>, names: ['last-event-id'] },
    ];
    for (const { of, names } of places) {
      for (const name of names) {
        const given = of[name];
        if (typeof given === 'string' && !isEventId(given)) of[name] = open(given, context);
      }
    }
  });

  app.addHook('preSerialization', async (request, _reply, answer) => {
    const { next_cursor: next } = Object(answer) as { next_cursor?: unknown };
    if (typeof next !== 'string') return answer;
    return { ...(answer as object), next_cursor: request.givenCursor(next) };
  });

  function open(given: string, context: string): string {
    try {
      return (sealer.open(given, context) as { cursor: string }).cursor;
    } catch {
      throw new RunwatchError('the cursor is not one that a listing gave to this token', {
        code: 'invalid_cursor',
      });
    }
  }

  done();
});

/** Where events go on after one of them, it is named by its id. */
function isEventId(text: string): boolean {
  return text.startsWith('evt_');
}

/** What a cursor is sealed for; null for a caller that may see every source. */
function contextOf({ token }: FastifyRequest): string | null {
  return token === null || sourcesOf(token) === undefined ? null : `cursor of ${token.name}`;
}
