import { callBack } from './callback.ts';
import type { Answer } from './http-io.ts';
import { BODY_MISSING, complaintsOf, invalid, notUuid, problem } from './noxus-error.ts';
import { addRun, type Simulation } from './simulation.ts';
import { startSchema, storyOf } from './start-input.ts';
import { story } from './stories.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What came of a start; `runId` is null where there is no run. */
interface Start {
  answer: Answer;
  runId: string | null;
}

/** `POST /v1/workflows/{workflow_id}/runs`: the new run, as it is at once. */
export function startRun(simulation: Simulation, workflowId: string, body: unknown): Start {
  const { runs, workflows } = simulation;
  if (!UUID.test(workflowId)) return refused(invalid(notUuid(['path', 'workflow_id'], workflowId)));
  if (body === undefined) return refused(invalid(BODY_MISSING));
  const parsed = startSchema.safeParse(body);
  if (!parsed.success) return refused(invalid(...complaintsOf(parsed.error, body)));
  const workflow = workflows.find(workflowId);
  if (workflow === null) return refused(problem(404, 'Workflow not found'));
  const name = storyOf(parsed.data, workflow);
  if (typeof name !== 'string') return refused(invalid(name));
  const { input, workflow_version_id, single_node_id, callback_url: callbackUrl } = parsed.data;
  if (!runs.hasRoomFor(input)) return refused(problem(507, 'The simulator holds too many runs'));
  const { id } = addRun(simulation, {
    ...story(name),
    workflow_id: workflow.id,
    workflow_version_id: workflow_version_id ?? null,
    single_node_id: single_node_id ?? null,
    input,
  });
  if (typeof callbackUrl === 'string') void callBack(simulation, id, callbackUrl);
  return { answer: { status: 200, body: runs.fullText(id) }, runId: id };
}

function refused(answer: Answer): Start {
  return { answer, runId: null };
}
