// Drives a Kinesis through the SDK for JavaScript, over HTTP/2, which it speaks by itself, from a
// stream's making to its removal.
//
// Called by .ci/clients with three endpoints: one with the service's limits, one whose iterators live
// for two seconds, one with a clock that makes a day six seconds. What is not as it should be throws.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import * as sdk from '@aws-sdk/client-kinesis'

const StreamName = 'invoices'

function client(endpoint) {
  const kinesis = new sdk.Kinesis({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'nobody', secretAccessKey: 'nothing' },
    maxAttempts: 1,
  })
  return kinesis
}

async function refused(call, code, status = 400) {
  const error = await call.then(
    answer => assert.fail(`${code} was expected, and this came: ${JSON.stringify(answer)}`),
    error => error)
  assert.equal(error.name, code)
  assert.equal(error.$metadata.httpStatusCode, status)
  assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/)
  return error.message
}

async function iterator(kinesis, ShardId, more = { ShardIteratorType: 'TRIM_HORIZON' }) {
  const { ShardIterator } = await kinesis.getShardIterator({ StreamName, ShardId, ...more })
  return ShardIterator
}

// All records of a shard, and the answer that has the last of them.
async function read(kinesis, shard) {
  const records = []
  let at = await iterator(kinesis, shard)
  for (;;) {
    const page = await kinesis.getRecords({ ShardIterator: at, Limit: 300 })
    records.push(...page.Records)
    if (!page.NextShardIterator || page.MillisBehindLatest === 0) return [records, page]
    at = page.NextShardIterator
    await sleep(210)
  }
}

// Subscribes to a shard, and to one that is closed, whose records are returned.
async function fanOut(kinesis, StreamARN, ShardId, closed) {
  const { Consumer: { ConsumerARN } } =
    await kinesis.registerStreamConsumer({ StreamARN, ConsumerName: 'audit' })
  const { ConsumerDescription } = await kinesis.describeStreamConsumer({ ConsumerARN })
  assert.equal(ConsumerDescription.ConsumerStatus, 'ACTIVE')

  const start = { ConsumerARN, StartingPosition: { Type: 'TRIM_HORIZON' } }
  const records = []
  let end
  const whole = await kinesis.subscribeToShard({ ShardId: closed, ...start })
  for await (const { SubscribeToShardEvent: event } of whole.EventStream) {
    records.push(...event.Records)
    end = event
  }
  assert.equal(end.ContinuationSequenceNumber, undefined)
  assert.equal(end.ChildShards.length, 2)
  // Within a second it is one call too many, and then too early for a while.
  await sleep(1_100)
  await refused(
    kinesis.subscribeToShard({ ShardId: closed, ...start }), 'ResourceInUseException')

  start.StartingPosition.Type = 'LATEST'
  const open = await kinesis.subscribeToShard({ ShardId, ...start })
  const { Shards } = await kinesis.listShards({ StreamName })
  const { HashKeyRange } = Shards.find(it => it.ShardId === ShardId)
  const put = await kinesis.putRecord({
    StreamARN, Data: Buffer.from('pushed'), PartitionKey: 'k',
    ExplicitHashKey: HashKeyRange.StartingHashKey,
  })
  for await (const { SubscribeToShardEvent: event } of open.EventStream) {
    if (event.Records.length === 0) continue
    assert.equal(Buffer.from(event.Records[0].Data).toString(), 'pushed')
    assert.equal(event.Records[0].SequenceNumber, put.SequenceNumber)
    break
  }
  await kinesis.deregisterStreamConsumer({ ConsumerARN })
  return records
}

// Records are trimmed after a day, and a closed shard goes with them.
async function expire(kinesis) {
  const [closed, ...children] = [0, 1, 2].map(number => `shardId-${String(number).padStart(12, '0')}`)
  await kinesis.createStream({ StreamName, ShardCount: 1 })
  await sdk.waitUntilStreamExists({ client: kinesis, maxWaitTime: 30, minDelay: 1 }, { StreamName })
  await kinesis.putRecord({ StreamName, Data: Buffer.from('first'), PartitionKey: 'k' })
  assert.equal((await read(kinesis, closed))[0].length, 1)
  const until = async (what, holds) => {
    for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(100)) {
      if (await holds()) return
    }
    assert.fail(`${what}: not within a minute`)
  }
  await until('records are trimmed', async () => (await read(kinesis, closed))[0].length === 0)

  const NewStartingHashKey = String(2n ** 127n)
  await kinesis.splitShard({ StreamName, ShardToSplit: closed, NewStartingHashKey })
  const listed = async () => (await kinesis.listShards({ StreamName })).Shards.map(it => it.ShardId)
  assert.deepEqual(await listed(), [closed, ...children])
  await until('a closed shard expires', async () => (await listed()).length === 2)
  assert.deepEqual(await listed(), children)
  await refused(iterator(kinesis, closed), 'ResourceNotFoundException')
  await kinesis.deleteStream({ StreamName })
}

async function main(endpoint, shortLived, fast) {
  const kinesis = client(endpoint)
  const begun = new Date()
  const shard = number => `shardId-${String(number).padStart(12, '0')}`
  const text = bytes => Buffer.from(bytes).toString()

  await kinesis.createStream({ StreamName, ShardCount: 2 })
  await sdk.waitUntilStreamExists({ client: kinesis, maxWaitTime: 30, minDelay: 1 }, { StreamName })
  const { StreamDescriptionSummary: summary } = await kinesis.describeStreamSummary({ StreamName })
  const StreamARN = summary.StreamARN
  assert.equal(summary.OpenShardCount, 2)
  assert.ok(Math.abs(summary.StreamCreationTimestamp - begun) < 30_000)
  assert.equal(
    await refused(kinesis.describeStream({ StreamName: 'none' }), 'ResourceNotFoundException'),
    'Stream none under account 000000000000 not found.')
  assert.match(
    await refused(kinesis.describeStream({ StreamName: 'a b', Limit: 0 }), 'ValidationException'),
    /^2 validation errors detected: Value 'a b' at 'streamName' failed/)

  const page = await kinesis.listShards({ StreamName, MaxResults: 1 })
  const rest = await kinesis.listShards({ NextToken: page.NextToken })
  const pages = [page, rest].map(page => page.Shards.map(it => it.ShardId))
  assert.deepEqual(pages, [[shard(0)], [shard(1)]])

  const Data = Uint8Array.from({ length: 256 }, (_, byte) => byte)
  await kinesis.putRecord({ StreamARN, Data, PartitionKey: 'key', ExplicitHashKey: '0' })
  const Records = Array.from({ length: 500 }, (_, number) =>
    ({ Data: Buffer.from(String(number)), PartitionKey: `key-${number}` }))
  const put = await kinesis.putRecords({ StreamName, Records })
  assert.equal(put.FailedRecordCount, 0)
  const stored = [(await read(kinesis, shard(0)))[0], (await read(kinesis, shard(1)))[0]]
  assert.deepEqual(stored[0][0].Data, Data)
  const numbers = [...stored[0].slice(1), ...stored[1]].map(it => Number(text(it.Data)))
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 500 }, (_, n) => n))
  for (const [ShardIteratorType, StartingSequenceNumber] of [
    ['AT_SEQUENCE_NUMBER', stored[0][2].SequenceNumber],
    ['AFTER_SEQUENCE_NUMBER', stored[0][1].SequenceNumber],
  ]) {
    const at = await iterator(kinesis, shard(0), { ShardIteratorType, StartingSequenceNumber })
    await sleep(210)
    const page = await kinesis.getRecords({ ShardIterator: at, Limit: 1 })
    assert.deepEqual(page.Records, [stored[0][2]])
  }
  const Timestamp = stored[1].at(-1).ApproximateArrivalTimestamp
  const at = await iterator(kinesis, shard(1), { ShardIteratorType: 'AT_TIMESTAMP', Timestamp })
  const [first] = (await kinesis.getRecords({ ShardIterator: at })).Records
  assert.deepEqual(first.ApproximateArrivalTimestamp, Timestamp)

  const NewStartingHashKey = String(2n ** 126n)
  await kinesis.splitShard({ StreamName, ShardToSplit: shard(0), NewStartingHashKey })
  await sleep(1_000)
  await kinesis.mergeShards({ StreamName, ShardToMerge: shard(3), AdjacentShardToMerge: shard(1) })
  await sleep(1_000)
  const [records, end] = await read(kinesis, shard(0))
  assert.equal(records.length, stored[0].length)
  assert.equal(end.NextShardIterator, undefined)
  assert.deepEqual(end.ChildShards.map(it => it.ShardId), [shard(2), shard(3)])
  const [, merged] = await read(kinesis, shard(1))
  assert.deepEqual(merged.ChildShards[0].ParentShards.toSorted(), [shard(1), shard(3)])
  const { Shards } = await kinesis.listShards({
    StreamName, ShardFilter: { Type: 'AFTER_SHARD_ID', ShardId: shard(2) },
  })
  assert.deepEqual(Shards.map(it => it.ShardId), [shard(3), shard(4)])

  const pushed = await fanOut(kinesis, StreamARN, shard(4), shard(0))
  assert.deepEqual(pushed, stored[0])

  // All at once, on one connection.
  const tip = await iterator(kinesis, shard(4), { ShardIteratorType: 'LATEST' })
  const calls = Array.from({ length: 20 }, () => kinesis.getRecords({ ShardIterator: tip }))
  const answers = await Promise.allSettled(calls)
  const reasons = answers.filter(it => it.status === 'rejected').map(it => it.reason.name)
  assert.ok(reasons.length > 0)
  assert.deepEqual([...new Set(reasons)], ['ProvisionedThroughputExceededException'])

  const fleeting = client(shortLived)
  await fleeting.createStream({ StreamName, ShardCount: 1 })
  const soonGone = await iterator(fleeting, shard(0))
  await sleep(2_100)
  assert.match(
    await refused(fleeting.getRecords({ ShardIterator: soonGone }), 'ExpiredIteratorException'),
    /^Iterator expired\. The iterator was created at time .* 2000 milliseconds/)
  await fleeting.deleteStream({ StreamName })
  fleeting.destroy()
  const hurried = client(fast)
  await expire(hurried)
  hurried.destroy()

  await kinesis.deleteStream({ StreamARN })
  await sdk.waitUntilStreamNotExists(
    { client: kinesis, maxWaitTime: 30, minDelay: 1 }, { StreamName })
  kinesis.destroy()
}

await main(...process.argv.slice(2))
console.log('SDK for JavaScript: all is as it should be')
