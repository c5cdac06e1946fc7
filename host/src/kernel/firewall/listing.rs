//! What the kernel says that it has of our rules, and how members are written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use selvedge_engine::{FirewallTool, FoundFirewall, IpVersion, Member, RulesetName, iptables_rules_of_ours};
use serde_json::Value;

use super::MemberChange;
use super::tool::{self, ToolError};
use super::watch::Watch;

/// The sets that members are in.
const SETS: [&str; 6] = [
    "senders4", "senders6", "sources4", "sources6", "subnets4", "subnets6",
];

/// A ruleset as the kernel lists it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Listing {
    /// Its rules, in their order, without counts; and elements of its sets that are no members.
    pub(super) rules: Vec<String>,
    /// The members in its sets.
    pub(super) members: BTreeSet<Member>,
}

/// Lists a ruleset; one that is not there is empty.
pub(super) async fn list(name: RulesetName, watch: &mut Watch) -> Result<Listing, ToolError> {
    match (name.table(), name.tool()) {
        (Some((family, table)), _) => {
            let rules = tool::run_nft(&["-s", "-t", "list", "table", family, table], "", watch).await;
            let Some(rules) = unless_absent(rules)? else {
                return Ok(Listing::default());
            };
            let (members, strange) = match name {
                RulesetName::Membership => members(watch).await?,
                RulesetName::NftablesTraffic(_) | RulesetName::IptablesTraffic(_) => Default::default(),
            };
            let rules = rules.lines().map(str::to_owned).chain(strange).collect();
            Ok(Listing { rules, members })
        }
        (None, FirewallTool::Iptables(version)) => {
            let saved = save(version, &name.removal(), watch).await?;
            Ok(Listing {
                rules: iptables_rules_of_ours(&saved),
                members: BTreeSet::new(),
            })
        }
        (None, FirewallTool::Nft) => Ok(Listing::default()),
    }
}

/// Saves the iptables tables that a script is about.
pub(super) async fn save(version: IpVersion, script: &str, watch: &mut Watch) -> Result<String, ToolError> {
    let program = match version {
        IpVersion::V4 => "iptables-save",
        IpVersion::V6 => "ip6tables-save",
    };
    let mut saved = String::new();
    for table in script.lines().filter_map(|line| line.strip_prefix('*')) {
        saved += &tool::start(program, &["-t", table], "", watch).await?;
    }
    Ok(saved)
}

/// Finds those of the rulesets that exist and their members; where a program is missing or fails there are none.
pub(super) async fn find(names: &[RulesetName], watch: &mut Watch) -> FoundFirewall {
    let mut found = FoundFirewall::default();
    for name in names.iter().copied() {
        match list(name, watch).await {
            Ok(listing) if !listing.rules.is_empty() => {
                found.rulesets.push(name);
                found.members.extend(listing.members);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("cannot look for the {name}: {error}"),
        }
    }
    found
}

/// Writes what lets members join and leave, one command for each set. The last change of a member counts.
pub(super) fn member_script(changes: &[MemberChange]) -> String {
    let mut joining: BTreeMap<&str, BTreeSet<Member>> = BTreeMap::new();
    let mut leaving = joining.clone();
    for change in changes {
        let (MemberChange::Join(member) | MemberChange::Leave(member)) = change;
        let (to, from) = match change {
            MemberChange::Join(_) => (&mut joining, &mut leaving),
            MemberChange::Leave(_) => (&mut leaving, &mut joining),
        };
        from.entry(member.set()).or_default().remove(member);
        to.entry(member.set()).or_default().insert(*member);
    }
    let commands = |deed: &str, sets: &BTreeMap<&str, BTreeSet<Member>>| -> Vec<String> {
        let sets = sets.iter().filter(|(_, members)| !members.is_empty());
        sets.map(|(set, members)| {
            let elements: Vec<String> = members.iter().map(Member::element).collect();
            format!(
                "{deed} element inet selvedge {set} {{ {} }}\n",
                elements.join(", ")
            )
        })
        .collect()
    };
    // To delete what is not there is an error; to add what is there is none.
    let mut script = commands("add", &leaving);
    script.extend(commands("delete", &leaving));
    script.extend(commands("add", &joining));
    script.concat()
}

/// Writes what makes the sets hold these members and nothing else.
pub(super) fn all_members(members: &BTreeSet<Member>) -> String {
    let flush = SETS
        .map(|set| format!("flush set inet selvedge {set}\n"))
        .concat();
    let joining: Vec<_> = members.iter().copied().map(MemberChange::Join).collect();
    flush + &member_script(&joining)
}

/// Returns the members in the sets, and the elements that are none.
async fn members(watch: &mut Watch) -> Result<(BTreeSet<Member>, Vec<String>), ToolError> {
    let (family, table) = RulesetName::Membership.table().unwrap_or_default();
    let listed = tool::run_nft(&["-j", "list", "table", family, table], "", watch).await;
    Ok(unless_absent(listed)?
        .map(|json| parse_members(&json))
        .unwrap_or_default())
}

/// Reads the members from `nft -j list table`, and the elements that nobody of us wrote.
fn parse_members(json: &str) -> (BTreeSet<Member>, Vec<String>) {
    let listed: Value = serde_json::from_str(json).unwrap_or_default();
    let sets = listed["nftables"].as_array().into_iter().flatten();
    let mut members = BTreeSet::new();
    let mut strange = Vec::new();
    for set in sets.filter_map(|object| object.get("set")) {
        let name = set["name"].as_str().unwrap_or_default();
        for element in set["elem"].as_array().into_iter().flatten() {
            match parse_member(name, element) {
                Some(member) => drop(members.insert(member)),
                None => strange.push(format!("{name} {element}")),
            }
        }
    }
    (members, strange)
}

fn parse_member(set: &str, element: &Value) -> Option<Member> {
    let member = match set {
        "senders4" | "senders6" => Member::Sender(element.as_str()?.parse().ok()?),
        "sources4" | "sources6" => {
            let [sender, range] = element["concat"].as_array()?.as_slice() else {
                return None;
            };
            let sender: IpAddr = sender.as_str()?.parse().ok()?;
            let (first, last) = match range["range"].as_array() {
                Some(bounds) => (number(bounds.first()?)?, number(bounds.get(1)?)?),
                None => (number(range)?, number(range)?),
            };
            let subnet = match IpVersion::of(sender) {
                IpVersion::V4 => v4_subnet(first, last)?,
                IpVersion::V6 => v6_subnet(first, last)?,
            };
            Member::Source { sender, subnet }
        }
        "subnets4" | "subnets6" => Member::Direct(subnet(element)?),
        _ => return None,
    };
    (member.set() == set).then_some(member)
}

/// Reads an address or a prefix.
fn subnet(element: &Value) -> Option<IpNet> {
    if let Some(address) = element.as_str() {
        return Some(address.parse::<IpAddr>().ok()?.into());
    }
    let prefix = element.get("prefix")?;
    let address: IpAddr = prefix["addr"].as_str()?.parse().ok()?;
    IpNet::new(address, u8::try_from(prefix["len"].as_u64()?).ok()?).ok()
}

/// Reads a number, which nft writes in hexadecimal where it is large.
fn number(value: &Value) -> Option<u128> {
    match value.as_str() {
        Some(text) => u128::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        None => value.as_u64().map(u128::from),
    }
}

fn v4_subnet(first: u128, last: u128) -> Option<IpNet> {
    let first = Ipv4Addr::from(u32::try_from(first).ok()?);
    let last = Ipv4Addr::from(u32::try_from(last).ok()?);
    let length = (first.to_bits() ^ last.to_bits()).leading_zeros();
    let subnet = Ipv4Net::new(first, u8::try_from(length).ok()?).ok()?;
    (subnet.network() == first && subnet.broadcast() == last).then_some(subnet.into())
}

fn v6_subnet(first: u128, last: u128) -> Option<IpNet> {
    let length = (first ^ last).leading_zeros();
    let subnet = Ipv6Net::new(Ipv6Addr::from(first), u8::try_from(length).ok()?).ok()?;
    (subnet.network().to_bits() == first && subnet.broadcast().to_bits() == last).then_some(subnet.into())
}

/// Takes the refusal to list what is not there for an answer.
fn unless_absent(listed: Result<String, ToolError>) -> Result<Option<String>, ToolError> {
    match listed {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_they_were_written() {
        let listed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"set": {"name": "senders4", "elem": ["192.0.2.7"]}},
            {"set": {"name": "sources4", "elem": [{"concat": ["192.0.2.7", {"range": [168100096, 168100351]}]},
                {"concat": ["192.0.2.7", 168100352]}, {"concat": ["192.0.2.7", {"range": [1, 4]}]}]}},
            {"set": {"name": "sources6", "elem": [{"concat": ["2001:db8::7",
                {"range": ["0xfd050000000000010000000000000000", "0xfd05000000000001ffffffffffffffff"]}]}]}},
            {"set": {"name": "subnets4", "elem": [{"prefix": {"addr": "10.5.1.0", "len": 24}}, "10.5.2.0"]}},
            {"set": {"name": "subnets6"}}, {"set": {"name": "other", "elem": ["192.0.2.7"]}}]}"#;

        let (members, strange) = parse_members(listed);

        assert_eq!(
            members,
            BTreeSet::from([
                Member::Sender("192.0.2.7".parse().unwrap()),
                source("192.0.2.7", "10.5.1.0/24"),
                source("192.0.2.7", "10.5.2.0/32"),
                source("2001:db8::7", "fd05:0:0:1::/64"),
                Member::Direct("10.5.1.0/24".parse().unwrap()),
                Member::Direct("10.5.2.0/32".parse().unwrap()),
            ])
        );
        assert_eq!(
            strange,
            [
                r#"sources4 {"concat":["192.0.2.7",{"range":[1,4]}]}"#,
                r#"other "192.0.2.7""#,
            ]
        );
    }

    #[test]
    fn what_is_no_listing_has_no_members() {
        for text in [
            "",
            "{}",
            "[]",
            "{\"nftables\": [1, {\"set\": 2}, {\"set\": {\"elem\": 3}}]}",
        ] {
            assert_eq!(parse_members(text), (BTreeSet::new(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn members_join_and_leave_in_one_transaction_and_the_last_change_counts() {
        let sender = Member::Sender("192.0.2.7".parse().unwrap());
        let other = Member::Sender("192.0.2.8".parse().unwrap());
        let subnet = source("192.0.2.7", "10.5.1.0/24");

        let script = member_script(&[
            MemberChange::Leave(sender),
            MemberChange::Join(other),
            MemberChange::Join(subnet),
            MemberChange::Join(sender),
            MemberChange::Leave(subnet),
        ]);

        assert_eq!(
            script,
            "add element inet selvedge sources4 { 192.0.2.7 . 0x0a050100-0x0a0501ff }\n\
             delete element inet selvedge sources4 { 192.0.2.7 . 0x0a050100-0x0a0501ff }\n\
             add element inet selvedge senders4 { 192.0.2.7, 192.0.2.8 }\n"
        );
        assert_eq!(member_script(&[]), "");
    }

    fn source(sender: &str, subnet: &str) -> Member {
        Member::Source {
            sender: sender.parse().unwrap(),
            subnet: subnet.parse().unwrap(),
        }
    }
}
