#!/usr/bin/env node
import { runInvocation } from './cli/invocation.ts';

await runInvocation();
