'use strict';

// An application on the official, unmodified client SDK. Each check prints one line; the first failure ends it with status 1.
// Where the network is and who acts comes from the environment, as the Rust test sets it.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const {
    CommitError, EndorseError, GatewayError, StatusCode, connect, hash, signers,
} = require('@hyperledger/fabric-gateway');

const env = (name) => {
    const value = process.env[name];
    assert.ok(value, `${name} is not set`);
    return value;
};
const onlyFileIn = (directory) => path.join(directory, fs.readdirSync(directory)[0]);
const text = (bytes) => Buffer.from(bytes).toString();

const channelName = env('PROBE_CHANNEL');
const chaincodeName = env('PROBE_CHAINCODE');

function connectGateway() {
    const credentials = grpc.credentials.createSsl(fs.readFileSync(env('CORE_PEER_TLS_ROOTCERT_FILE')));
    const client = new grpc.Client(env('CORE_PEER_ADDRESS'), credentials);
    const msp = env('CORE_PEER_MSPCONFIGPATH');
    const privateKey = crypto.createPrivateKey(fs.readFileSync(onlyFileIn(path.join(msp, 'keystore'))));
    const gateway = connect({
        client,
        identity: {
            mspId: env('CORE_PEER_LOCALMSPID'),
            credentials: fs.readFileSync(onlyFileIn(path.join(msp, 'signcerts'))),
        },
        signer: signers.newPrivateKeySigner(privateKey),
        hash: hash.sha256,
        evaluateOptions: () => ({ deadline: Date.now() + 10_000 }),
        endorseOptions: () => ({ deadline: Date.now() + 15_000 }),
        submitOptions: () => ({ deadline: Date.now() + 10_000 }),
        commitStatusOptions: () => ({ deadline: Date.now() + 30_000 }),
    });
    return { client, gateway };
}

async function firstOf(events, wanted) {
    try {
        for await (const event of events) {
            if (wanted(event)) {
                return event;
            }
        }
    } finally {
        events.close();
    }
    throw new Error('the stream of events ended early');
}

const checks = {
    async 'a transaction is submitted and read back'({ contract }) {
        assert.equal(text(await contract.submitTransaction('Put', 'greeting', 'hello')), 'hello');
        assert.equal(text(await contract.evaluateTransaction('Get', 'greeting')), 'hello');
    },

    async 'the contract sees who calls, on which channel'({ contract }) {
        const proposal = contract.newProposal('Who');
        const seen = JSON.parse(text(await proposal.evaluate()));
        assert.deepEqual(seen, {
            creator: env('CORE_PEER_LOCALMSPID'), channel: channelName, tx: proposal.getTransactionId(),
        });
    },

    async 'a commit status names the block'({ contract }) {
        const commit = await contract.submitAsync('Put', { arguments: ['status', 'known'] });
        const status = await commit.getStatus();
        assert.equal(status.successful, true);
        assert.equal(status.code, StatusCode.VALID);
        assert.ok(status.blockNumber > 0n);
        assert.equal(status.transactionId, commit.getTransactionId());
    },

    async 'a range is listed, and read in pages'({ contract }) {
        for (const letter of ['a', 'b', 'c', 'd', 'e']) {
            await contract.submitTransaction('Put', `range-${letter}`, letter);
        }
        const all = JSON.parse(text(await contract.evaluateTransaction('List', 'range-', 'range-~')));
        assert.deepEqual(all.map(({ value }) => value), ['a', 'b', 'c', 'd', 'e']);
        const pages = [];
        let bookmark = '';
        do {
            const page = JSON.parse(text(await contract.evaluateTransaction('Page', 'range-', 'range-~', '2', bookmark)));
            pages.push(page.keys.length);
            bookmark = page.bookmark;
        } while (bookmark !== '');
        assert.deepEqual(pages, [2, 2, 1]);
    },

    async 'a history holds all values and the deletion, newest first'({ contract }) {
        await contract.submitTransaction('Put', 'remembered', 'one');
        await contract.submitTransaction('Put', 'remembered', 'two');
        await contract.submitTransaction('Delete', 'remembered');
        const history = JSON.parse(text(await contract.evaluateTransaction('History', 'remembered')));
        assert.deepEqual(history.map(({ value, isDelete }) => (isDelete ? 'deleted' : value)), ['deleted', 'two', 'one']);
    },

    async 'composite keys are found by their beginning'({ contract }) {
        await contract.submitTransaction('Composite', 'colour', 'red', 'one');
        await contract.submitTransaction('Composite', 'colour', 'red', 'two');
        await contract.submitTransaction('Composite', 'colour', 'blue', 'three');
        const found = JSON.parse(text(await contract.evaluateTransaction('ListComposite', 'colour', 'red')));
        assert.deepEqual(found, [['red', 'one'], ['red', 'two']]);
    },

    async 'a chaincode event arrives'({ contract, network }) {
        const commit = await contract.submitAsync('Put', { arguments: ['event', 'seen'] });
        const { blockNumber } = await commit.getStatus();
        const events = await network.getChaincodeEvents(chaincodeName, { startBlock: blockNumber });
        const event = await firstOf(events, ({ transactionId }) => transactionId === commit.getTransactionId());
        assert.equal(event.eventName, 'Put');
        assert.equal(event.chaincodeName, chaincodeName);
        assert.deepEqual(JSON.parse(text(event.payload)), { key: 'event', value: 'seen' });
    },

    async 'a chaincode event arrives while listening'({ contract, network }) {
        const events = await network.getChaincodeEvents(chaincodeName);
        const arrived = firstOf(events, ({ payload }) => JSON.parse(text(payload)).key === 'live');
        await contract.submitTransaction('Put', 'live', 'now');
        assert.equal((await arrived).eventName, 'Put');
    },

    async 'blocks arrive whole, filtered, and in order'({ network }) {
        const numbers = [];
        const blocks = await network.getBlockEvents({ startBlock: 0n });
        await firstOf(blocks, (block) => {
            numbers.push(Number(block.getHeader().getNumber()));
            return numbers.length === 5;
        });
        assert.deepEqual(numbers, [0, 1, 2, 3, 4]);
        const filtered = await network.getFilteredBlockEvents({ startBlock: 0n });
        const genesis = await firstOf(filtered, () => true);
        assert.equal(genesis.getChannelId(), channelName);
    },

    async 'an endorsement failure names the peer that refused'({ contract }) {
        const refusing = env('PROBE_REFUSING_MSP');
        await assert.rejects(contract.submitTransaction('RefuseAt', refusing, 'refused'), (error) => {
            assert.ok(error instanceof EndorseError, `an ${error.constructor.name} instead of an EndorseError: ${error}`);
            const detail = error.details.find(({ mspId }) => mspId === refusing);
            assert.ok(detail, `no detail about ${refusing} in ${JSON.stringify(error.details)}`);
            assert.ok(detail.address.includes(':'), detail.address);
            assert.match(detail.message, new RegExp(`refused at ${refusing}`));
            return true;
        });
    },

    async 'an evaluation that fails says why'({ contract }) {
        await assert.rejects(contract.evaluateTransaction('Get', 'no such key'), (error) => {
            assert.ok(error instanceof GatewayError);
            assert.ok(error.details.some(({ message }) => /the key no such key does not exist/.test(message)));
            return true;
        });
    },

    async 'a stale read is an MVCC conflict at commit'({ contract }) {
        await contract.submitTransaction('Increment', 'counter');
        const stale = await contract.newProposal('Increment', { arguments: ['counter'] }).endorse();
        await contract.submitTransaction('Increment', 'counter');
        const status = await (await stale.submit()).getStatus();
        assert.equal(status.successful, false);
        assert.equal(status.code, StatusCode.MVCC_READ_CONFLICT);
    },

    async 'competing submissions end in the commit error of the SDK'({ contract }) {
        const outcomes = await Promise.allSettled(
            Array.from({ length: 8 }, () => contract.submitTransaction('Increment', 'contended')),
        );
        const committed = outcomes.filter(({ status }) => status === 'fulfilled');
        const conflicts = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
        assert.ok(committed.length >= 1, 'nobody won');
        for (const conflict of conflicts) {
            assert.ok(conflict instanceof CommitError, `${conflict}`);
            assert.equal(conflict.code, StatusCode.MVCC_READ_CONFLICT);
        }
        const value = Number(text(await contract.evaluateTransaction('Get', 'contended')));
        assert.equal(value, committed.length, 'every acknowledged increment counts, and no other');
        assert.ok(conflicts.length >= 1, 'eight increments at once did not conflict');
    },

    async 'an unknown contract is refused in words'({ network }) {
        await assert.rejects(network.getContract('nosuch').evaluateTransaction('Get', 'x'), (error) => {
            assert.ok(error instanceof GatewayError);
            assert.match(JSON.stringify([error.message, error.details]), /nosuch/);
            return true;
        });
    },
};

async function main() {
    const { client, gateway } = connectGateway();
    try {
        const network = gateway.getNetwork(channelName);
        const contract = network.getContract(chaincodeName);
        for (const [name, check] of Object.entries(checks)) {
            await check({ contract, network });
            console.log(`ok: ${name}`);
        }
        console.log(`all ${Object.keys(checks).length} checks passed`);
    } finally {
        gateway.close();
        client.close();
    }
}

main().catch((error) => {
    console.error('failed:', error);
    if (error.details) {
        console.error('details:', JSON.stringify(error.details, null, 2));
    }
    process.exitCode = 1;
});
