import { existsSync } from 'node:fs';
import { soak } from '../soak.js';
import type { Subject } from '../subject.js';

const RATE = 2_000;
const SECONDS = 1_800;

export const soaked: Subject = {
  name: 'soaked',
  figures: [
    {
      id: 'S27',
      figure:
        'a soak of 30 min at 2,000 jobs a second with light faults, a snapshot held in the middle third',
      target: 'flat memory, descriptors, table size, p99',
    },
  ],
  unable: () =>
    existsSync('/proc/self/fd') ? undefined : 'memory and descriptors are read from /proc',
  async measure(lab) {
    return [await soak(lab, { rate: RATE, seconds: lab.count(SECONDS, 30) })];
  },
};
