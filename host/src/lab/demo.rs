//! The demonstration: traffic between all pods, a node cut off, and healed.

use std::time::Duration;

use super::error::LabError;
use super::name::{NodeNumber, Place};
use super::probe::Pace;
use super::report::{PodLink, RunningLink, duration};
use super::stopwatch::Stopwatch;
use super::{Cut, Interrupt, Lab, LabOptions};

const CUT_FOR: Duration = Duration::from_secs(3);
const HEALED_WITHIN: Duration = Duration::from_secs(15);

/// Runs the demonstration and removes the lab.
///
/// # Errors
///
/// What building the lab returns; [`LabError::Demo`] if traffic does not behave as the text says.
pub(super) fn run(options: LabOptions) -> Result<(), LabError> {
    let interrupt = Interrupt::catch_signals()?;
    let started = Stopwatch::start();
    println!(
        "Selvedge: {} nodes on this machine, each a network namespace with its own daemon,",
        options.nodes
    );
    println!(
        "its own TUN device and a pod behind it; a switch joins them, and a store keeps their leases.\n"
    );
    let lab = Lab::up(options, interrupt.clone())?;
    println!(
        "Every node took a subnet of its own and is ready after {}.\n",
        duration(started.elapsed())
    );
    show_all_pairs(&lab)?;
    let Some(node) = lab.nodes().last().copied() else {
        return Ok(());
    };
    show_cut(&lab, node, &interrupt)?;
    show_healing(&lab, node, &interrupt)?;
    drop(lab);
    println!(
        "\nEverything is removed again; all of it took {}.",
        duration(started.elapsed())
    );
    Ok(())
}

fn show_all_pairs(lab: &Lab) -> Result<(), LabError> {
    let links = lab.ping_all_pods(Pace::QUICK)?;
    println!("Pings between all pods (median round-trip time):\n");
    println!("{}", lab.table(&lab.leases()?, &links));
    expect(lost(&links) == 0, || {
        format!("{} probes between pods were lost", lost(&links))
    })
}

fn show_cut(lab: &Lab, node: NodeNumber, interrupt: &Interrupt) -> Result<(), LabError> {
    let place = Place::Node(node);
    println!("Now {place}'s cable is pulled for {}.\n", duration(CUT_FOR));
    lab.cut(node, Cut::Underlay)?;
    let running = lab.start_probes(&lab.pairs(), Pace::STEADY)?;
    interrupt.sleep(CUT_FOR)?;
    let links: Vec<PodLink> = running.into_iter().map(RunningLink::stop).collect();
    let leases = lab.leases()?;
    println!("{}", lab.table(&leases, &links));
    let (touched, others): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| touches(link, node));
    println!(
        "  {} of {} probes from and to pod-{node} are lost;",
        lost(&touched),
        sent(&touched)
    );
    println!(
        "  the other nodes go on undisturbed: {} of {} lost.",
        lost(&others),
        sent(&others)
    );
    let lease = leases.iter().find(|lease| lease.public_ip == node.public_ip());
    let left = lease.and_then(|lease| lease.time_left);
    if let Some(left) = left {
        let minutes = left.as_secs() / 60;
        println!(
            "  {place} keeps its lease: {} h {} min are left of it.\n",
            minutes / 60,
            minutes % 60
        );
    }
    expect(lost(&touched) == sent(&touched), || {
        format!("probes reached {place} although it was cut off")
    })?;
    expect(lost(&others) == 0, || {
        format!("probes were lost although {place} was not concerned")
    })?;
    expect(left.is_some(), || format!("{place} has no lease any more"))
}

fn show_healing(lab: &Lab, node: NodeNumber, interrupt: &Interrupt) -> Result<(), LabError> {
    let pairs: Vec<_> = lab
        .pairs()
        .into_iter()
        .filter(|(from, to)| *from == node || *to == node)
        .collect();
    let running = lab.start_probes(&pairs, Pace::STEADY)?;
    let plugged = Stopwatch::start();
    lab.heal(node)?;
    while running.iter().any(|link| !link.stream.answered()) && plugged.elapsed() < HEALED_WITHIN {
        interrupt.sleep(Duration::from_millis(10))?;
    }
    let since_start = running
        .first()
        .map_or(Duration::ZERO, |link| link.stream.elapsed());
    let healed_at = since_start.saturating_sub(plugged.elapsed());
    let links: Vec<PodLink> = running.into_iter().map(RunningLink::stop).collect();
    let back = links
        .iter()
        .map(|link| link.echoes.first_answer_since(Duration::ZERO))
        .collect::<Option<Vec<_>>>();
    let last = back.and_then(|times| times.into_iter().max());
    let Some(last) = last else {
        return expect(false, || {
            format!("traffic with {} did not come back", Place::Node(node))
        });
    };
    let took = duration(last.saturating_sub(healed_at));
    println!("The cable is back: traffic with pod-{node} flows in every direction after {took}.\n");
    show_all_pairs(lab)
}

fn touches(link: &PodLink, node: NodeNumber) -> bool {
    link.from == node || link.to == node
}

fn sent(links: &[PodLink]) -> usize {
    links.iter().map(|link| link.echoes.sent()).sum()
}

fn lost(links: &[PodLink]) -> usize {
    links.iter().map(|link| link.echoes.lost()).sum()
}

fn expect(holds: bool, problem: impl FnOnce() -> String) -> Result<(), LabError> {
    if holds {
        Ok(())
    } else {
        Err(LabError::Demo(problem()))
    }
}
