/**
 * What bodies read of an event. Events about runs have all of it; those about runwatch itself, such
 * as a test or an alert, may have data of another shape.
 */
export interface ToldEvent {
  id: string;
  type: string;
  timestamp: string;
  data: {
    run_id?: string;
    run?: ToldRun | null;
    detected_at?: string;
    watch?: { source: string; metadata: Record<string, string> };
    error?: { code: string; message: string } | null;
    reminder?: number;
    waited_ms?: number;
    lasted_ms?: number;
  };
}

export interface ToldRun {
  workflow_id: string | null;
  status: string;
  progress: number | null;
  started_at: string | null;
  finished_at: string | null;
  observed_at: string;
}

/** Reads the text of an event that this project wrote. */
export function parseEvent(eventText: string): ToldEvent {
  return JSON.parse(eventText) as ToldEvent;
}
