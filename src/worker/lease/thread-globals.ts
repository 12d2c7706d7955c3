// The driver asks, when it is loaded, whether it runs at Cloudflare. Where Node has no `navigator` (before 21) it
// makes a Response to find out, which loads all of fetch: 70 ms of CPU at each start. This thread is ours.
const globals = globalThis as { navigator?: { readonly userAgent: string } };
globals.navigator ??= { userAgent: 'Node.js' };
