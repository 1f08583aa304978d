use super::*;

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(text, "my.toml")
}

fn refusal(text: &str) -> String {
    let message = parse(text).expect_err("refused").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn the_reference_file_is_the_defaults_of_every_floor() {
    let settings = Settings::reference().expect("the reference file is valid");
    let text = super::super::reference::TEXT;
    assert_eq!(settings, parse(text).expect("it is a settings file itself"));
    let mut options = settings.service_options(false).expect("options");
    assert!(options.http.take().is_some_and(|http| !http.is_required && !http.allow_remote));
    assert_eq!(options, ServiceOptions::new(settings.server.grpc));
    assert_eq!(settings.telemetry_options(), crate::service::TelemetryOptions::text("info"));
    let db = settings.db_options();
    assert_eq!(db.store, StoreOptions::default());
    let defaults = DbOptions::new("x");
    assert_eq!(db.auto_index_rows, defaults.auto_index_rows);
    assert_eq!(db.build_threads, defaults.build_threads);
    assert!(matches!(settings.encoder(Path::new("/bin")), EncoderChoice::Nothing));
}

#[test]
fn the_encoder_defaults_are_those_of_its_floor() {
    let settings = parse("version = 1\n[encoder]\nmodels = '/models'\n").expect("valid");
    let EncoderChoice::Own(options) = settings.encoder(Path::new("/bin")) else {
        panic!("an encoder of our own")
    };
    let defaults = EncoderOptions::new("/bin/sidereus-encoder".into(), "/models".into());
    assert_eq!(format!("{options:?}"), format!("{defaults:?}"));
    let settings =
        parse("version = 1\n[encoder]\nmodels = '/m'\naddress = 'gpu:1'\n").expect("valid");
    let choice = settings.encoder(Path::new("/bin"));
    assert!(matches!(choice, EncoderChoice::Elsewhere { addresses, .. } if addresses == ["gpu:1"]));
}

#[test]
fn several_encoders_and_the_walls_of_our_own_are_settings() {
    let hosts = |text: &str| {
        let settings = parse(&format!("version = 1\n[encoder]\n{text}\n")).expect("valid");
        match settings.encoder(Path::new("/bin")) {
            EncoderChoice::Elsewhere { addresses, .. } => addresses,
            _ => Vec::new(),
        }
    };
    assert_eq!(hosts("addresses = ['a:1', 'b:1']"), ["a:1", "b:1"]);
    assert_eq!(hosts("address = 'c:1'\naddresses = ['a:1', 'b:1']"), ["c:1", "a:1", "b:1"]);
    assert!(hosts("addresses = []").is_empty());
    let twice = refusal("version = 1\n[encoder]\naddress = 'a:1'\naddresses = ['b:1', 'a:1']");
    assert!(twice.contains("encoder.addresses") && twice.contains("`a:1` twice"), "{twice}");
    let walls = "sandbox = 'required'\nprocess_mib = 512\nmodels = '/m'";
    let settings = parse(&format!("version = 1\n[encoder]\n{walls}\n")).expect("valid");
    let EncoderChoice::Own(options) = settings.encoder(Path::new("/bin")) else {
        panic!("an encoder of our own")
    };
    assert_eq!((options.sandbox, options.process_mib), (SandboxMode::Required, Some(512)));
    assert!(refusal("version = 1\n[encoder]\nsandbox = 'on'").contains("required"));
}

#[test]
fn a_file_needs_only_what_differs() {
    let settings = parse("version = 1\n[index]\nauto_rows = 0\nthreads = 3\n").expect("valid");
    assert_eq!(settings.db_options().auto_index_rows, None);
    assert_eq!(settings.db_options().build_threads, 3);
    assert_eq!(settings.limits, Settings::reference().expect("valid").limits);
}

#[test]
fn what_is_wrong_is_named() {
    assert!(refusal("").contains("begin it with `version = 1`"));
    assert!(refusal("version = 2").contains("has version 2, this program reads version 1"));
    assert!(refusal("version = '1'").contains("begin it with `version = 1`"));
    assert!(refusal("version = 1\nvesion = 2").contains("vesion"));
    assert!(refusal("version = 1\n[server]\nport = 2").contains("port"));
    assert!(refusal("version = 1\n[server]\ngrpc = 'here'").contains("my.toml"));
    assert!(refusal("version = 1\n[server").contains("line 2"));
    assert!(refusal("version = 1\n[server]\nlog = 'x=loud'").contains("server.log"));
    assert!(refusal("version = 1\n[limits]\nk = 10001").contains("1 to 10000"));
    assert!(refusal("version = 1\n[limits]\nk = 0").contains("`limits.k` is 0"));
    assert!(refusal("version = 1\n[limits]\nchunk_kib = 99999").contains("limits.chunk_kib"));
    assert!(refusal("version = 1\n[limits]\nk = -1").contains("my.toml"));
    let missing = Settings::load(Path::new("/nowhere/my.toml")).expect_err("no such file");
    assert!(missing.to_string().contains("/nowhere/my.toml"));
}
