import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { TokenConfig } from '../../config/schema.ts';
import { LIMITED, mayConcern } from '../auth.ts';
import { presentSource } from '../present.ts';
import { refusal } from '../problem.ts';
import { COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import { sourceList, sourceParams, sourceSchema } from '../schemas/source.ts';
import type { SourceService, SourceView } from '../services.ts';

/** Lifting a pause is up to operators. */
const ADMIN = { scope: 'admin' as const, ...LIMITED };

const tags = ['Sources'];

const listSchema = {
  tags,
  operationId: 'listSources',
  summary: 'List sources, and whether they answer',
  response: { 200: jsonAnswer('All configured sources.', sourceList), ...COMMON_PROBLEMS },
};

const resumeSchema = {
  tags,
  operationId: 'resumeSource',
  summary: 'Lift the pause of a source',
  description:
    'Runs are polled again at once. A source that still does not answer is paused again.',
  params: sourceParams,
  response: {
    200: jsonAnswer('The source as it is now.', sourceSchema),
    ...COMMON_PROBLEMS,
    404: problemAnswer('No source has this name.'),
  },
};

/** How sources stand, and lifting their pauses. */
export const sourceRoutes: FastifyPluginAsyncZod<{ sources: SourceService }> = async (
  app,
  { sources },
) => {
  app.get('/sources', { schema: listSchema, config: LIMITED }, async ({ token }) => {
    const views = await shownTo(token, sources);
    return { data: views.map(presentSource) };
  });

  const resumeRoute = { schema: resumeSchema, config: ADMIN };
  app.post('/sources/:name/resume', resumeRoute, async ({ params: { name }, token }) => {
    const view = mayConcern(token, name) ? await sources.resume(name) : null;
    if (view !== null) return presentSource(view);
    const names = (await shownTo(token, sources)).map((one) => one.name).join(', ');
    throw refusal('source_not_found', `no source is named "${name}"; there are: ${names}`);
  });
};

async function shownTo(token: TokenConfig | null, sources: SourceService): Promise<SourceView[]> {
  return (await sources.list()).filter(({ name }) => mayConcern(token, name));
}
