import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { presentSource } from '../present.ts';
import { refusal } from '../problem.ts';
import { COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import { sourceList, sourceParams, sourceSchema } from '../schemas/source.ts';
import type { SourceService } from '../services.ts';

/** Lifting a pause is up to operators. */
const ADMIN = { scope: 'admin' as const };

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
  app.get('/sources', { schema: listSchema }, async () => {
    const views = await sources.list();
    return { data: views.map(presentSource) };
  });

  const resumeRoute = { schema: resumeSchema, config: ADMIN };
  app.post('/sources/:name/resume', resumeRoute, async ({ params }) => {
    const view = await sources.resume(params.name);
    if (view !== null) return presentSource(view);
    const names = (await sources.list()).map((one) => one.name).join(', ');
    throw refusal('source_not_found', `no source is named "${params.name}"; there are: ${names}`);
  });
};
