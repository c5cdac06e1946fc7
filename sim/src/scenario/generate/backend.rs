//! Drawing a backend with its options, and how the underlay is cut into segments for it.

use selvedge_engine::{GroupPolicy, Learning};

use super::choice::pick;
use crate::scenario::draw::Draw;
use crate::scenario::{Backend, DirectRouting, Legacy, Model, Scenario, VxlanOptions};

/// How often each backend is drawn, of a hundred times.
const WEIGHTS: [(Backend, usize); 3] = [(Backend::Udp, 60), (Backend::Vxlan, 25), (Backend::HostGw, 15)];

/// Draws a backend; all nodes run ours with those that flannel's model does not have.
pub(super) fn draw(rng: &mut dyn Draw, scenario: &mut Scenario) {
    let lots: Vec<Backend> = WEIGHTS
        .iter()
        .flat_map(|(backend, weight)| std::iter::repeat_n(*backend, *weight))
        .collect();
    scenario.backend = *pick(rng, &lots);
    match scenario.backend {
        Backend::Udp => {}
        Backend::Vxlan => {
            scenario.legacy = legacy(rng);
            scenario.vxlan = vxlan(rng);
            draw_segments(rng, scenario);
            run_ours(scenario);
        }
        // Who is in another segment cannot be reached.
        Backend::HostGw => {
            scenario.legacy = legacy(rng);
            run_ours(scenario);
        }
    }
}

fn legacy(rng: &mut dyn Draw) -> Legacy {
    *pick(rng, &[Legacy::Nothing, Legacy::Nothing, Legacy::Flannels])
}

fn vxlan(rng: &mut dyn Draw) -> VxlanOptions {
    VxlanOptions {
        vni: *pick(rng, &[None, Some(2), Some(0x00ff_ffff)]),
        port: *pick(rng, &[None, Some(4789)]),
        mtu: *pick(rng, &[None, None, Some(1400)]),
        group_policy: *pick(rng, &[GroupPolicy::Off, GroupPolicy::Off, GroupPolicy::On]),
        learning: *pick(rng, &[Learning::Off, Learning::Off, Learning::On]),
        direct_routing: *pick(rng, &[DirectRouting::Off, DirectRouting::On]),
    }
}

fn draw_segments(rng: &mut dyn Draw, scenario: &mut Scenario) {
    let count = *pick(rng, &[1, 2, 3]);
    for plan in &mut scenario.nodes {
        plan.segment = u8::try_from(rng.below(count)).unwrap_or_default();
    }
}

fn run_ours(scenario: &mut Scenario) {
    for plan in &mut scenario.nodes {
        plan.model = Model::Selvedge;
    }
}
