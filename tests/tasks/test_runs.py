"""Request keys come from the root flow run, wherever in the tree of runs they are asked for."""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.deployments import arun_deployment
from prefect.flow_engine import run_flow_async
from prefect.runtime import flow_run

from tasks.runs import request_key, run_ids, short


@task(cache_policy=NO_CACHE)
async def key_in_a_task():
    return await request_key("verse")


@flow
async def child():
    return flow_run.id, await request_key(), await key_in_a_task(), await run_ids()


@flow
async def grandparent():
    @flow
    async def parent():
        return await asyncio.gather(child(), child())

    return flow_run.id, await parent()


def test_names_of_runs_are_short_single_lines():
    assert short("a\nb\u202ec\x00") == "a b c"
    assert short("x" * 100) == f"{'x' * 59}…"
    assert short(None) == ""


async def test_outside_of_runs_each_key_is_new():
    assert await request_key() != await request_key()


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
class TestInRuns:
    async def test_the_root_run_names_the_key_in_every_depth(self):
        root, children = await grandparent()
        for own, core, verse, ids in children:
            assert own != root
            assert (core, verse) == (f"{root}:core", f"{root}:verse")
            assert (ids.flow_run_id, ids.root_flow_run_id) == (own, root)

    async def test_the_child_of_a_deployment_takes_its_parents_root(self):
        async with get_client() as client:
            flow_id = await client.create_flow(child)
            await client.create_deployment(flow_id, name="shard")

        @flow
        async def parent():
            started = await arun_deployment("child/shard", timeout=0)
            return flow_run.id, started

        root, started = await parent()
        # As a worker would, in another process: outside of the parent's context.
        own, core, verse, _ids = await run_flow_async(child, flow_run=started)
        assert own == str(started.id)
        assert (core, verse) == (f"{root}:core", f"{root}:verse")
