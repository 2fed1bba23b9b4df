/** One fresh process of macro/in-process-start: import, create, one record there and back; prints the milliseconds of each as JSON. */
const startMs = performance.now()
// By the package's name: what an application gets. What createBroker() needs is loaded by its first call.
const { createBroker } = await import('millrace')
const importedMs = performance.now()
const broker = await createBroker({ storage: 'memory' })
const createdMs = performance.now()
const mq = broker.client()
await mq.admin.topics.create('first', { partitions: 1 })
await mq.producer('first').send({ value: 'hello' })
let text = ''
for await (const record of mq.consume('first', { from: 'start', to: 'end' }))
  text += new TextDecoder().decode(record.value ?? undefined)
const endMs = performance.now()
if (text !== 'hello') throw new Error(`'${text}' came back`)
await broker.close()
console.log(
  JSON.stringify({
    import: importedMs - startMs,
    create: createdMs - importedMs,
    record: endMs - createdMs,
    total: endMs - startMs,
    close: performance.now() - endMs,
  }),
)
