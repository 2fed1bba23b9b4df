/**
 * A bench that is told to end, by Ctrl-C or because it took too long, ends as usual: what runs at exit (brokers killed, data
 * removed) runs.
 */
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
