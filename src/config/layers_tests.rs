use proptest::prelude::*;

use super::*;

fn variables(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn of_variables(given: &[(&str, &str)]) -> Result<Layered, ConfigError> {
    Layered::of_text(None, variables(given), Vec::new())
}

fn refusal(outcome: Result<Layered, ConfigError>) -> String {
    let message = outcome.expect_err("refused").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn of_file_alone(text: &str) -> Result<Layered, ConfigError> {
    Layered::of_text(Some((text, "my.toml")), [], Vec::new())
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let text = "version = 1\n[server]\ngrpc = '127.0.0.1:1'\nlog = 'warn'\n\n[limits]\nk = 7\n";
    let given = variables(&[("SIDEREUS_SERVER__GRPC", "127.0.0.1:2"), ("SIDEREUS_LIMITS__K", "8")]);
    let flag = Flag { word: "--grpc", key: "server.grpc", value: Value::from("127.0.0.1:3") };
    let layered = Layered::of_text(Some((text, "my.toml")), given, vec![flag]).expect("good");
    let settings = layered.settings();
    assert_eq!(settings.server.grpc.port(), 3);
    assert_eq!((settings.limits.k, settings.server.log.as_str()), (8, "warn"));
    assert_eq!(layered.origin("server.grpc"), Origin::Flag { word: "--grpc" });
    assert_eq!(layered.origin("limits.k").to_string(), "environment variable SIDEREUS_LIMITS__K");
    assert_eq!(layered.origin("server.log").to_string(), "file my.toml, line 4");
    assert_eq!(layered.origin("limits.ids"), Origin::Default);
}

#[test]
fn variables_have_the_kind_of_their_setting() {
    let layered = of_variables(&[
        ("SIDEREUS_SERVER__ALLOW_INSECURE_REMOTE", "true"),
        ("SIDEREUS_TELEMETRY__SAMPLE", "0.25"),
        ("SIDEREUS_ENCODER__ADDRESSES", "a:1, b:2"),
        ("SIDEREUS_ENCODER__MODELS", "/models"),
        ("SIDEREUS_SERVER__LOG_FORMAT", "json"),
        // Variables of the program that are no settings.
        ("SIDEREUS_SERVER", "http://127.0.0.1:50051"),
        ("SIDEREUS_CACHE", "x"),
        ("HOME", "/root"),
    ]);
    let settings = layered.expect("good").into_settings();
    assert!(settings.server.allow_insecure_remote);
    assert_eq!(settings.telemetry.sample, 0.25);
    let hosts = settings.encoder.addresses.expect("given");
    assert_eq!(hosts, ["a:1", "b:2"]);
    assert_eq!(settings.server.log_format, crate::config::LogStyle::Json);
    let listed = of_variables(&[("SIDEREUS_ENCODER__ADDRESSES", "['c:1']")]).expect("good");
    assert_eq!(listed.settings().encoder.addresses.as_deref(), Some(&["c:1".to_owned()][..]));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = refusal(of_variables(&[("SIDEREUS_LIMITS__K", "ten")]));
    assert_eq!(
        told,
        "environment variable SIDEREUS_LIMITS__K: setting `limits.k` is `ten`: it must be a whole number"
    );
    let told = refusal(of_variables(&[("SIDEREUS_LIMITS__KK", "10")]));
    assert!(
        told.contains("SIDEREUS_LIMITS__KK") && told.contains("did you mean `limits.k`"),
        "{told}"
    );
    let told = refusal(of_variables(&[("SIDEREUS_LIMITS__K", "0")]));
    assert!(told.contains("SIDEREUS_LIMITS__K") && told.contains("1 to 10000"), "{told}");
    let told = refusal(of_variables(&[("SIDEREUS_SERVER__GRPC", "here")]));
    assert!(told.contains("SIDEREUS_SERVER__GRPC") && told.contains("server.grpc"), "{told}");
    for (text, line, said) in [
        ("version = 1\n\n[limits]\n# many\nk = 0\n", 5, "`limits.k` is 0"),
        ("version = 1\n[limits]\nk = 'ten'\n", 3, "it must be a whole number"),
        ("version = 1\n[limits]\nkk = 1\n", 3, "did you mean `limits.k`"),
        ("version = 1\n[server]\ngrpc = 'here'\n", 3, "server.grpc"),
        ("version = 1\n[server]\nlog_format = 'xml'\n", 3, "server.log_format"),
        ("version = 1\n[telemetry]\nsample = 1.5\n", 3, "0 to 1"),
        ("version = 1\n[telemetry]\nsample = 2\n", 3, "0 to 1"),
        ("version = 1\n[telemetry]\notlp = 'nowhere'\n", 3, "telemetry.otlp"),
        ("version = 1\nserver = 3\n", 2, "server"),
        ("version = 1\n[limits]\nk = 1\nk = 2\n", 4, "duplicate"),
    ] {
        let told = refusal(of_file_alone(text));
        assert!(told.contains("my.toml") && told.contains(said), "{told}");
        assert!(told.contains(&format!("line {line}")), "{told}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = "version = 1\n[server]\nhttp = '127.0.0.1:1'\n[limits]\nk = 'ten'\nids = 0\n";
    let variables = variables(&[("SIDEREUS_LIMITS__KK", "1")]);
    let told = refusal(Layered::of_text(Some((text, "my.toml")), variables, Vec::new()));
    for said in [
        "4 settings are wrong: ",
        "line 3: there is no setting `server.http`: did you mean `http.listen`",
        "line 5: setting `limits.k` is k = 'ten': it must be a whole number",
        "line 6: setting `limits.ids` is 0",
        "SIDEREUS_LIMITS__KK",
    ] {
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn what_is_printed_can_be_read_again_and_tells_where_it_comes_from() {
    let text = "version = 1\n[server]\nlog = 'warn'\n[encoder]\nmodels = '/m'\n[telemetry]\notlp = 'http://me:pw@h:1'\n";
    let given = variables(&[("SIDEREUS_LIMITS__K", "8")]);
    let layered = Layered::of_text(Some((text, "my.toml")), given, Vec::new()).expect("good");
    let printed = layered.print();
    assert!(printed.contains("log = \"warn\"  # file my.toml, line 3\n"), "{printed}");
    assert!(printed.contains("k = 8  # environment variable SIDEREUS_LIMITS__K\n"), "{printed}");
    assert!(printed.contains("grpc = \"127.0.0.1:50051\"  # default\n"), "{printed}");
    assert!(printed.contains("# Not set: ") && printed.contains("encoder.address"), "{printed}");
    assert!(!printed.contains("pw"), "{printed}");
    let again = of_file_alone(&printed).expect("a settings file").into_settings();
    assert_eq!(again.limits, layered.settings().limits);
    assert_eq!(again.encoder, layered.settings().encoder);
}

#[test]
fn places_for_backups_have_names_of_the_operators_choice() {
    let text =
        "version = 1\n[backup.attic]\nurl = '/attic'\n[backup.'my disk']\nurl = 's3://me:pw@x/y'\n";
    let given = variables(&[("SIDEREUS_BACKUP__ELSEWHERE__URL", "/mnt")]);
    let layered = Layered::of_text(Some((text, "my.toml")), given, Vec::new()).expect("good");
    let urls = |layered: &Layered| -> Vec<(String, String)> {
        let places = layered.settings().backup.iter();
        places.map(|(name, place)| (name.clone(), place.url.clone())).collect()
    };
    let place = |name: &str, url: &str| (name.to_owned(), url.to_owned());
    let expected =
        [place("attic", "/attic"), place("elsewhere", "/mnt"), place("my disk", "s3://me:pw@x/y")];
    assert_eq!(urls(&layered), expected);
    assert_eq!(layered.origin("backup.attic.url").to_string(), "file my.toml, line 3");
    let printed = layered.print();
    let line = "[backup.attic]\nurl = \"/attic\"  # file my.toml, line 3\n";
    assert!(printed.contains(line) && !printed.contains("pw"), "{printed}");
    let again = of_file_alone(&printed).expect("a settings file");
    assert_eq!(urls(&again)[..2], expected[..2]);
    assert_eq!(urls(&again)[2].0, "my disk");
    assert!(of_variables(&[]).expect("good").print().contains("backup.NAME.url"));
    for (text, said) in [
        ("version = 1\n[backup.attic]\nulr = '/attic'\n", "line 3: there is no setting"),
        ("version = 1\n[backup.attic]\nulr = '/attic'\n", "did you mean `backup.attic.url`"),
        ("version = 1\n[backup.attic]\nurl = 3\n", "it must be a text"),
        ("version = 1\n[backup.attic]\n", "backup.attic"),
    ] {
        let told = refusal(of_file_alone(text));
        assert!(told.contains(said), "{told}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_panic(name in "[A-Z_]{0,20}", value in ".{0,20}", text in ".{0,60}") {
        let _ = of_variables(&[(&format!("SIDEREUS_{name}"), &value), ("SIDEREUS_LIMITS__K", &value)]);
        let _ = of_file_alone(&text);
        let _ = of_file_alone(&format!("version = 1\n[server]\n{text}"));
    }
}
