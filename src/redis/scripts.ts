import type { Redis, Result } from 'ioredis';
import { ADD_SILENCE, COMMIT_ALERTS, FORGET_ALERTS, TAKE_ALERT_WORK } from './lua/alert.ts';
import type { Wish } from '../core/delivery/delivery.ts';
import type { ClaimReply } from './stores/outbox-plan.ts';
import type { BytesReply } from './stores/history-plan.ts';
import {
  CLAIM,
  DUE_POOLS,
  MOVE_DELIVERIES_BACK,
  RELEASE_DELIVERIES,
  RETRY_RECEIVER,
} from './lua/claim.ts';
import { READ_CLOCK, TAKE_OUT_STEP } from './lua/clock.ts';
import { COMPARE_DELIVERIES } from './lua/compare.ts';
import { END_LEASE, MOVE_CURSOR, TAKE_LEASE } from './lua/leases.ts';
import {
  FORGET_DELIVERIES,
  RECORD_ATTEMPT,
  REQUEUE_DELIVERY,
  WITHHOLD_DELIVERY,
} from './lua/delivery.ts';
import { REQUEST_KINDS } from '../core/cadence/load.ts';
import { WRITE_ENDPOINT } from './lua/endpoint-state.ts';
import {
  DROP_PACK_DUE,
  PACK,
  PUT_OFF,
  FORGET_EVENTS,
  FORGET_OWN_EVENTS,
  FORGET_PACKED,
  READ_HISTORY,
  READ_ONE,
  READ_PART,
  REPACK,
  UNPACK,
} from './lua/history.ts';
import { READ_STATISTICS } from './lua/learn.ts';
import { CHUNK_STARTS, COUNT_NUMBERS, DROP_NUMBER, READ_NUMBERS } from './lua/numbers.ts';
import { TAKE_GONE } from './lua/source.ts';
import { ADD_UP, PUT_BACK, RECOUNT, SWEEP_INDEX, SWEEP_LOG } from './lua/repair.ts';
import { CLAIM_REQUESTS, RELEASE_CLAIMS, RENEW_CLAIM } from './lua/request-claim.ts';
import { FIND_RUN_IDS, SWEEP_RUN_IDS } from './lua/run-ids.ts';
import { DEFER, ENTER_MISSING, ENTER_WITHIN, EXPEDITE, MOVE_BACK, SURVEY } from './lua/schedule.ts';
import {
  ADD_DELIVERIES,
  RAISE_EVENT,
  RENEW_EPOCH,
  REPLACE_STATE,
  TURN_STATE,
} from './lua/outbox.ts';
import {
  ADD_REPORT,
  NOTE_STREAM,
  PUT_BOUNDED,
  RELEASE_STREAMS,
  REPLACE_FIELD,
  TAKE_STREAM,
} from './lua/stream.ts';
import type { ScriptCall } from './script.ts';
import { ADMIT_REQUEST, PUT_SOURCE, RENEW_PERMIT, SETTLE_REQUEST } from './stores/source-store.ts';
import { SHOW_PROCESS } from './stores/process-store.ts';
import { COMMIT_WATCH } from './stores/watch-script.ts';

declare module 'ioredis' {
  interface RedisCommander<Context> {
    rwReadClock(clock: string): Result<[now: number, steps: number, offsetMs: number], Context>;
    rwTakeOutStep(keyCount: number, ...args: (string | number)[]): Result<number, Context>;
    rwTakeLease(clock: string, lease: string, token: string, ms: number): Result<number, Context>;
    rwEndLease(lease: string, whose: 'token' | 'process', name: string): Result<null, Context>;
    rwCommitWatch(...call: ScriptCall): Result<string[] | number, Context>;
    rwClaimRequests(
      ...args: (string | number)[]
    ): Result<[string, ...(string | number)[]], Context>;
    rwReleaseClaims(...args: (string | number)[]): Result<number, Context>;
    rwRenewClaim(
      clock: string,
      claims: string,
      member: string,
      token: string,
      leaseMs: number,
    ): Result<number, Context>;
    rwExpedite(...args: string[]): Result<null, Context>;
    rwDefer(...args: (string | number)[]): Result<null, Context>;
    rwEnterMissing(...args: string[]): Result<number, Context>;
    rwEnterWithin(...args: (string | number)[]): Result<null, Context>;
    rwSurvey(
      ...args: string[]
    ): Result<
      [now: number, members: number, claims: number, due: number, earliest: string, first: string],
      Context
    >;
    rwMoveBack(...args: (string | number)[]): Result<null, Context>;
    rwClaim(keyCount: number, ...args: (string | number)[]): Result<ClaimReply, Context>;
    rwReleaseDeliveries(keyCount: number, ...args: string[]): Result<number, Context>;
    rwDuePools(
      clock: string,
      poolsDue: string,
      most: number,
    ): Result<[now: number, pools: string[]], Context>;
    rwMoveDeliveriesBack(keyCount: number, ...args: (string | number)[]): Result<null, Context>;
    rwCompareDeliveries(
      keyCount: number,
      ...args: (string | number)[]
    ): Result<[placed: number, lost: number, pools: string[]], Context>;
    rwRetryReceiver(
      keyCount: number,
      ...args: (string | number)[]
    ): Result<[moved: number, attempted: number], Context>;
    rwRecordAttempt(
      keyCount: number,
      ...args: string[]
    ): Result<'delivery' | 'endpoint' | Wish | ClaimReply, Context>;
    rwWithholdDelivery(
      keyCount: number,
      ...args: string[]
    ): Result<'delivery' | Wish | ClaimReply, Context>;
    rwRequeueDelivery(keyCount: number, ...args: string[]): Result<number, Context>;
    rwWriteEndpoint(keyCount: number, ...args: (string | number)[]): Result<number, Context>;
    rwAdmitRequest(...call: ScriptCall): Result<number | null, Context>;
    rwRenewPermit(...call: ScriptCall): Result<null, Context>;
    rwSettleRequest(...call: ScriptCall): Result<null, Context>;
    rwTakeStream(
      holders: string,
      runId: string,
      process: string,
      most: number,
    ): Result<number, Context>;
    rwNoteStream(...args: (string | number)[]): Result<number, Context>;
    rwReleaseStreams(...args: (string | number)[]): Result<number, Context>;
    rwAddReport(key: string, ...args: (string | number)[]): Result<null, Context>;
    rwPutBounded(
      key: string,
      field: string,
      text: string,
      ...bounds: [most: number, keptMs: number]
    ): Result<null, Context>;
    rwReplaceField(key: string, field: string, was: string, is: string): Result<number, Context>;
    rwShowProcess(...call: ScriptCall): Result<number, Context>;
    rwPutSource(...call: ScriptCall): Result<number, Context>;
    rwTakeGone(
      checks: string,
      now: number,
      leaseMs: number,
      most: number,
    ): Result<string[], Context>;
    rwReadStatisticsBuffer(
      statistics: string,
      uses: string,
      clock: string,
      version: string,
      used: string,
    ): Result<Buffer[] | null, Context>;
    rwMoveCursor(
      claims: string,
      cursor: string,
      member: string,
      token: string,
      text: string,
      ms: number,
    ): Result<number, Context>;
    rwAddDeliveries(keyCount: number, ...args: (string | number)[]): Result<number, Context>;
    rwForgetDeliveries(keyCount: number, ...args: (string | number)[]): Result<number, Context>;
    rwTurnState(keyCount: number, ...args: (string | number)[]): Result<string[] | null, Context>;
    rwReplaceState(
      keyCount: number,
      ...args: (string | number)[]
    ): Result<string[] | null, Context>;
    rwRaiseEvent(keyCount: number, ...args: (string | number)[]): Result<string[], Context>;
    rwRenewEpoch(keyCount: number, ...args: (string | number)[]): Result<string[] | null, Context>;
    rwReadNumbersBuffer(...args: (string | number)[]): Result<Buffer[], Context>;
    rwChunkStarts(...args: (string | number)[]): Result<string[], Context>;
    rwDropNumber(keyCount: number, ...args: (string | number)[]): Result<null, Context>;
    rwPutBack(
      keyCount: number,
      ...args: string[]
    ): Result<[missing: number, lost: number], Context>;
    rwSweepLog(keyCount: number, ...args: (string | number)[]): Result<number, Context>;
    rwSweepIndex(index: string, log: string, ...chunks: string[]): Result<number, Context>;
    rwFindRunIds(keyCount: number, ...args: (string | number)[]): Result<string[][], Context>;
    rwSweepRunIds(
      block: string,
      blocks: string,
      first: string,
      watches: string,
    ): Result<number, Context>;
    rwRecount(keyCount: number, ...args: string[]): Result<number, Context>;
    rwAddUp(
      keyCount: number,
      ...args: (string | number)[]
    ): Result<[compared: number, addUp: number], Context>;
    rwCountNumbers(keyCount: number, ...args: string[]): Result<number, Context>;
    rwReadHistoryBuffer(
      ...args: (string | number)[]
    ): Result<[record?: Buffer, events?: Buffer[], deliveries?: BytesReply], Context>;
    rwReadPartBuffer(...args: (string | number)[]): Result<Buffer[], Context>;
    rwReadOneBuffer(keyCount: number, ...args: string[]): Result<Buffer[], Context>;
    rwPack(keyCount: number, ...args: (string | Buffer)[]): Result<number, Context>;
    rwPutOff(times: string, member: string, time: number): Result<null, Context>;
    rwUnpack(keyCount: number, ...args: string[]): Result<number, Context>;
    rwRepack(keyCount: number, ...args: (string | Buffer)[]): Result<number, Context>;
    rwForgetPacked(keyCount: number, ...args: string[]): Result<number, Context>;
    rwDropPackDue(watch: string, packDue: string, id: string): Result<null, Context>;
    rwForgetEvents(keyCount: number, ...args: string[]): Result<null, Context>;
    rwForgetOwnEvents(keyCount: number, ...args: string[]): Result<null, Context>;
    rwTakeAlertWork(
      ...args: (string | number)[]
    ): Result<
      [
        now: string,
        seenMs: string[],
        nextMs: string,
        entries?: string[],
        due?: string[],
        deadlines?: string[],
      ],
      Context
    >;
    rwCommitAlerts(
      keyCount: number,
      ...args: (string | number)[]
    ): Result<string[] | number, Context>;
    rwForgetAlerts(keyCount: number, ...args: string[]): Result<null, Context>;
    rwAddSilence(
      silences: string,
      id: string,
      doc: string,
      most: number,
      mostOfToken: number,
      mostKept: number,
      now: number,
    ): Result<string | -1 | 0 | 1, Context>;
  }
}

/** Sorted sets of a source's schedule. */
const DUE_SETS = REQUEST_KINDS.length + 1;

/** Teaches a connection our scripts; ioredis sends them by hash and reloads them when Redis forgot. */
export function defineScripts(redis: Redis): void {
  redis.defineCommand('rwReadClock', { numberOfKeys: 1, lua: READ_CLOCK });
  redis.defineCommand('rwTakeOutStep', { lua: TAKE_OUT_STEP });
  redis.defineCommand('rwTakeLease', { numberOfKeys: 2, lua: TAKE_LEASE });
  redis.defineCommand('rwEndLease', { numberOfKeys: 1, lua: END_LEASE });
  redis.defineCommand('rwCommitWatch', { lua: COMMIT_WATCH.lua });
  redis.defineCommand('rwClaimRequests', { numberOfKeys: DUE_SETS + 7, lua: CLAIM_REQUESTS });
  redis.defineCommand('rwReleaseClaims', { numberOfKeys: DUE_SETS + 2, lua: RELEASE_CLAIMS });
  redis.defineCommand('rwRenewClaim', { numberOfKeys: 2, lua: RENEW_CLAIM });
  redis.defineCommand('rwExpedite', { numberOfKeys: DUE_SETS + 2, lua: EXPEDITE });
  redis.defineCommand('rwDefer', { numberOfKeys: DUE_SETS + 2, lua: DEFER });
  redis.defineCommand('rwEnterMissing', { numberOfKeys: DUE_SETS + 2, lua: ENTER_MISSING });
  redis.defineCommand('rwEnterWithin', { numberOfKeys: DUE_SETS + 2, lua: ENTER_WITHIN });
  redis.defineCommand('rwSurvey', { numberOfKeys: DUE_SETS + 2, lua: SURVEY });
  redis.defineCommand('rwMoveBack', { numberOfKeys: DUE_SETS, lua: MOVE_BACK });
  redis.defineCommand('rwClaim', { lua: CLAIM });
  redis.defineCommand('rwReleaseDeliveries', { lua: RELEASE_DELIVERIES });
  redis.defineCommand('rwMoveDeliveriesBack', { lua: MOVE_DELIVERIES_BACK });
  redis.defineCommand('rwDuePools', { numberOfKeys: 2, lua: DUE_POOLS });
  redis.defineCommand('rwCompareDeliveries', { lua: COMPARE_DELIVERIES });
  redis.defineCommand('rwRetryReceiver', { lua: RETRY_RECEIVER });
  redis.defineCommand('rwRecordAttempt', { lua: RECORD_ATTEMPT });
  redis.defineCommand('rwWithholdDelivery', { lua: WITHHOLD_DELIVERY });
  redis.defineCommand('rwRequeueDelivery', { lua: REQUEUE_DELIVERY });
  redis.defineCommand('rwWriteEndpoint', { lua: WRITE_ENDPOINT });
  redis.defineCommand('rwAdmitRequest', { lua: ADMIT_REQUEST.lua });
  redis.defineCommand('rwRenewPermit', { lua: RENEW_PERMIT.lua });
  redis.defineCommand('rwSettleRequest', { lua: SETTLE_REQUEST.lua });
  redis.defineCommand('rwReadStatistics', { numberOfKeys: 3, lua: READ_STATISTICS });
  defineStreamScripts(redis);
  redis.defineCommand('rwShowProcess', { lua: SHOW_PROCESS.lua });
  redis.defineCommand('rwPutSource', { lua: PUT_SOURCE.lua });
  redis.defineCommand('rwTakeGone', { numberOfKeys: 1, lua: TAKE_GONE });
  redis.defineCommand('rwMoveCursor', { numberOfKeys: 2, lua: MOVE_CURSOR });
  redis.defineCommand('rwAddDeliveries', { lua: ADD_DELIVERIES });
  redis.defineCommand('rwForgetDeliveries', { lua: FORGET_DELIVERIES });
  redis.defineCommand('rwTurnState', { lua: TURN_STATE });
  redis.defineCommand('rwReplaceState', { lua: REPLACE_STATE });
  redis.defineCommand('rwRaiseEvent', { lua: RAISE_EVENT });
  redis.defineCommand('rwRenewEpoch', { lua: RENEW_EPOCH });
  redis.defineCommand('rwReadNumbers', { numberOfKeys: 1, lua: READ_NUMBERS });
  redis.defineCommand('rwChunkStarts', { numberOfKeys: 1, lua: CHUNK_STARTS });
  redis.defineCommand('rwDropNumber', { lua: DROP_NUMBER });
  redis.defineCommand('rwPutBack', { lua: PUT_BACK });
  redis.defineCommand('rwSweepLog', { lua: SWEEP_LOG });
  redis.defineCommand('rwSweepIndex', { numberOfKeys: 1, lua: SWEEP_INDEX });
  redis.defineCommand('rwFindRunIds', { lua: FIND_RUN_IDS });
  redis.defineCommand('rwSweepRunIds', { numberOfKeys: 2, lua: SWEEP_RUN_IDS });
  redis.defineCommand('rwRecount', { lua: RECOUNT });
  redis.defineCommand('rwAddUp', { lua: ADD_UP });
  redis.defineCommand('rwCountNumbers', { lua: COUNT_NUMBERS });
  redis.defineCommand('rwReadHistory', { numberOfKeys: 3, lua: READ_HISTORY });
  redis.defineCommand('rwReadPart', { numberOfKeys: 2, lua: READ_PART });
  redis.defineCommand('rwReadOne', { lua: READ_ONE });
  redis.defineCommand('rwPack', { lua: PACK });
  redis.defineCommand('rwPutOff', { numberOfKeys: 1, lua: PUT_OFF });
  redis.defineCommand('rwUnpack', { lua: UNPACK });
  redis.defineCommand('rwRepack', { lua: REPACK });
  redis.defineCommand('rwForgetPacked', { lua: FORGET_PACKED });
  redis.defineCommand('rwDropPackDue', { numberOfKeys: 2, lua: DROP_PACK_DUE });
  redis.defineCommand('rwForgetEvents', { lua: FORGET_EVENTS });
  redis.defineCommand('rwForgetOwnEvents', { lua: FORGET_OWN_EVENTS });
  redis.defineCommand('rwTakeAlertWork', { numberOfKeys: 6, lua: TAKE_ALERT_WORK });
  redis.defineCommand('rwCommitAlerts', { lua: COMMIT_ALERTS });
  redis.defineCommand('rwForgetAlerts', { lua: FORGET_ALERTS });
  redis.defineCommand('rwAddSilence', { numberOfKeys: 1, lua: ADD_SILENCE });
}

function defineStreamScripts(redis: Redis): void {
  redis.defineCommand('rwTakeStream', { numberOfKeys: 1, lua: TAKE_STREAM });
  redis.defineCommand('rwNoteStream', { numberOfKeys: DUE_SETS + 4, lua: NOTE_STREAM });
  redis.defineCommand('rwReleaseStreams', { numberOfKeys: DUE_SETS + 3, lua: RELEASE_STREAMS });
  redis.defineCommand('rwAddReport', { numberOfKeys: 1, lua: ADD_REPORT });
  redis.defineCommand('rwPutBounded', { numberOfKeys: 1, lua: PUT_BOUNDED });
  redis.defineCommand('rwReplaceField', { numberOfKeys: 1, lua: REPLACE_FIELD });
}
