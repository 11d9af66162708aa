'use strict';

// A contract on the official, unmodified contract API: what an application can ask of a ledger, in small.

const { Contract } = require('fabric-contract-api');

class LedgerProbe extends Contract {
    constructor() {
        super('LedgerProbe');
    }

    async Put(ctx, key, value) {
        await ctx.stub.putState(key, Buffer.from(value));
        ctx.stub.setEvent('Put', Buffer.from(JSON.stringify({ key, value })));
        return value;
    }

    async Get(ctx, key) {
        const value = await ctx.stub.getState(key);
        if (value.length === 0) {
            throw new Error(`the key ${key} does not exist`);
        }
        return value.toString();
    }

    async Delete(ctx, key) {
        await ctx.stub.deleteState(key);
    }

    async Increment(ctx, key) {
        const before = await ctx.stub.getState(key);
        const after = (before.length === 0 ? 0 : Number(before.toString())) + 1;
        await ctx.stub.putState(key, Buffer.from(String(after)));
        return String(after);
    }

    async List(ctx, start, end) {
        const found = [];
        for await (const { key, value } of ctx.stub.getStateByRange(start, end)) {
            found.push({ key, value: value.toString() });
        }
        return JSON.stringify(found);
    }

    async Page(ctx, start, end, size, bookmark) {
        const { iterator, metadata } = await ctx.stub.getStateByRangeWithPagination(start, end, Number(size), bookmark);
        const keys = [];
        for (let result = await iterator.next(); !result.done; result = await iterator.next()) {
            keys.push(result.value.key);
        }
        await iterator.close();
        return JSON.stringify({ keys, bookmark: metadata.bookmark, fetched: metadata.fetchedRecordsCount });
    }

    async History(ctx, key) {
        const found = [];
        for await (const { txId, value, isDelete } of ctx.stub.getHistoryForKey(key)) {
            found.push({ txId, value: Buffer.from(value).toString(), isDelete });
        }
        return JSON.stringify(found);
    }

    async Composite(ctx, type, first, second) {
        const key = ctx.stub.createCompositeKey(type, [first, second]);
        await ctx.stub.putState(key, Buffer.from('composite'));
    }

    async ListComposite(ctx, type, first) {
        const found = [];
        for await (const { key } of ctx.stub.getStateByPartialCompositeKey(type, [first])) {
            found.push(ctx.stub.splitCompositeKey(key).attributes);
        }
        return JSON.stringify(found);
    }

    async Who(ctx) {
        return JSON.stringify({
            creator: ctx.clientIdentity.getMSPID(),
            channel: ctx.stub.getChannelID(),
            tx: ctx.stub.getTxID(),
        });
    }

    // Fails on the peers of one organisation, which its contract process knows from its environment.
    async RefuseAt(ctx, mspId, key) {
        if (ctx.stub.getMspID() === mspId) {
            throw new Error(`refused at ${mspId}`);
        }
        await ctx.stub.putState(key, Buffer.from('not refused'));
    }
}

module.exports.contracts = [LedgerProbe];
